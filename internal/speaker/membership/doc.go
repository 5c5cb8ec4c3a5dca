// Package membership tells which speakers are alive, and spreads what each says of itself: the interfaces it can announce on and
// the addresses it announces. It uses hashicorp/memberlist, an implementation of SWIM with the Lifeguard extensions: a member that
// is slow but alive gets time to object before it is declared dead.
package membership
