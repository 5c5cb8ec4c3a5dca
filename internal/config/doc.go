// Package config turns metallb.io objects into one immutable, validated Snapshot.
//
// A faulty object never stops the good ones: it is set aside with a Fault that names object, field and value, and its last valid
// version, if this process has seen one, stays in force. Build is a pure function; there is one file for each kind.
package config
