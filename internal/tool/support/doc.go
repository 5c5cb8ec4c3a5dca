// Package support gathers in one archive what helps to find out what is wrong with an installation: objects, events, logs, metrics, and what
// the commands of the tool tell. Passwords are masked, Secrets are not asked for, and a manifest says what is in it and what could not be read.
package support
