// Package dashboard shows an installation in a browser: pages made on this machine of what the other rooms of the tool tell, kept current
// by watches. It serves whoever holds a token on the loopback address, and nobody else.
package dashboard
