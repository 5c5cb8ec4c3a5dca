// Package keep is how a process says something by objects of the API, and takes it back.
//
// The rule of the room: a process writes and removes only what carries its own name. So two processes that do not hear of each other cannot
// remove each other's objects for ever, and what a process has left that will not come back is the leader's to remove
// (internal/controller/delegate), as is what has lost the name of its process: where the name of the object is taken by that, the process
// tries again, later each time, until it is gone.
//
// Whoever has something to say hands the whole of it to a Keeper, as a map from what it is about to what it says. The Keeper creates,
// writes and removes what differs, several objects at a time; it follows what becomes of them, so that what somebody else edits or removes
// is back at once; a write that fails is tried again, later each time; and it writes nothing that is there already. Of objects that users
// make, such as pools, it keeps the status alone.
package keep
