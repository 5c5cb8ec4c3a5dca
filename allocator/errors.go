package allocator

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
)

// Sentinels by which a caller decides. The typed errors of this package unwrap to them.
var (
	// ErrInvalidRequest: the request contradicts itself, for instance in its families.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrUnknownPool: the pool that was asked for does not exist.
	ErrUnknownPool = errors.New("no such pool")
	// ErrNotInPool: the address that was asked for, or is held, lies in no pool.
	ErrNotInPool = errors.New("no pool has it")
	// ErrPoolMismatch: the addresses and the pool that were asked for do not go together.
	ErrPoolMismatch = errors.New("addresses and pool do not go together")
	// ErrNotAdmitted: the pool's restrictions do not admit the owner.
	ErrNotAdmitted = errors.New("pool does not admit the owner")
	// ErrBuggyAddress: the address ends in .0 or .255 and its pool avoids those.
	ErrBuggyAddress = errors.New("pool avoids addresses that end in .0 or .255")
	// ErrInUse: another owner holds the address and at least one of the two shares with nobody, or it is in use elsewhere.
	ErrInUse = errors.New("address is in use")
	// ErrSharingConflict: another owner holds the address, both would share, but not with each other.
	ErrSharingConflict = errors.New("address cannot be shared")
	// ErrReserved: the address is reserved for another owner.
	ErrReserved = errors.New("address is reserved")
	// ErrPoolExhausted: the pools that could serve the request have no address left for it.
	ErrPoolExhausted = errors.New("no address left")
	// ErrNoMatchingPool: no pool would serve the request, however empty.
	ErrNoMatchingPool = errors.New("no pool serves the request")
	// ErrInvalidPools: a set of pools was refused as a whole.
	ErrInvalidPools = errors.New("invalid pools")
)

// ConflictError says which holder of an address stands in the way, and why.
type ConflictError struct {
	Addr   netip.Addr
	Holder Owner
	// Why is ErrInUse or ErrSharingConflict.
	Why error
	// Differs says what the two do not agree on: "sharing key", "sharing namespaces", "traffic policy" or "port".
	Differs string
	// Port is the port that both use, if Differs is "port".
	Port Port
}

// Error names the address, its holder and the difference.
func (e *ConflictError) Error() string {
	s := fmt.Sprintf("address %s is in use by %s", e.Addr, e.Holder)
	switch e.Differs {
	case DiffersPort:
		return fmt.Sprintf("%s: both use port %s/%d", s, e.Port.Protocol, e.Port.Number)
	case DiffersKey:
		return s + ": the sharing keys differ"
	case DiffersAmong:
		return s + ": the two do not share among the same namespaces"
	case DiffersBackend:
		return s + ": externalTrafficPolicy Local shares an address only with an equal selector"
	}
	return s + ", and not both allow sharing"
}

// Unwrap returns ErrInUse or ErrSharingConflict.
func (e *ConflictError) Unwrap() error { return e.Why }

// What two owners of one address can disagree on (ConflictError.Differs).
const (
	DiffersKey     = "sharing key"
	DiffersAmong   = "sharing namespaces"
	DiffersBackend = "traffic policy"
	DiffersPort    = "port"
)

// PoolError is a refusal by, or about, one pool.
type PoolError struct {
	Pool string
	Addr netip.Addr // the address in question, if any
	Why  error
}

// Error names pool, address and reason.
func (e *PoolError) Error() string {
	var sb strings.Builder
	if e.Addr.IsValid() {
		fmt.Fprintf(&sb, "address %s: ", e.Addr)
	}
	if e.Pool != "" {
		fmt.Fprintf(&sb, "pool %q: ", e.Pool)
	}
	return sb.String() + e.Why.Error()
}

// Unwrap returns the reason.
func (e *PoolError) Unwrap() error { return e.Why }

// Tried is a pool that was considered and could not serve a request.
type Tried struct {
	Pool   string
	Family Family // the family it could not give
	InUse  uint64 // addresses of that family that are taken
	Size   uint64 // addresses of that family that it can assign
	// Answer is what the Provider of an external pool has said; nil: the pool is none, or has no address of the family. Unfit is why the
	// address of the answer cannot be used, if it has one.
	Answer *Answer
	Unfit  error
}

// String says how full the pool is, or what its Provider says.
func (t Tried) String() string {
	if t.Answer != nil {
		return fmt.Sprintf("pool %q: %s", t.Pool, t.answered())
	}
	if t.Size == 0 {
		return fmt.Sprintf("pool %q has no %s addresses", t.Pool, t.Family)
	}
	return fmt.Sprintf("pool %q has %d of %d %s addresses in use", t.Pool, t.InUse, t.Size, t.Family)
}

func (t Tried) answered() string {
	why := ""
	if t.Answer.Why != "" {
		why = ": " + t.Answer.Why
	}
	switch {
	case t.Unfit != nil:
		return fmt.Sprintf("its allocator has given %s, which cannot be used: %v", t.Answer.Addr, t.Unfit)
	case t.Answer.Refusal != "":
		return fmt.Sprintf("its allocator gives no %s address%s", t.Family, why)
	}
	return fmt.Sprintf("its allocator has given no %s address yet%s", t.Family, why)
}

// sentinel returns what a refusal by the pool unwraps to.
func (t Tried) sentinel() error {
	switch {
	case t.Answer == nil:
		return ErrPoolExhausted
	case t.Unfit != nil:
		return ErrUnfitAnswer
	case t.Answer.Refusal != "":
		return ErrRefused
	}
	return ErrAwaitsProvider
}

// ExhaustedError lists the pools that were tried. It unwraps to ErrNoMatchingPool if there are none; to ErrAwaitsProvider if one waits for its
// Provider; else to ErrUnfitAnswer or ErrRefused if a Provider is why there is no address; else to ErrPoolExhausted.
type ExhaustedError struct{ Tried []Tried }

// Error lists at most the first eight pools.
func (e *ExhaustedError) Error() string {
	if len(e.Tried) == 0 {
		return ErrNoMatchingPool.Error() + ": no pool assigns automatically to this owner"
	}
	const most = 8
	parts := make([]string, 0, most+1)
	for i, t := range e.Tried {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Tried)-most))
			break
		}
		parts = append(parts, t.String())
	}
	return e.Unwrap().Error() + ": " + strings.Join(parts, ", ")
}

// Unwrap returns the sentinel.
func (e *ExhaustedError) Unwrap() error {
	if len(e.Tried) == 0 {
		return ErrNoMatchingPool
	}
	for _, sentinel := range []error{ErrAwaitsProvider, ErrUnfitAnswer, ErrRefused} {
		if slices.ContainsFunc(e.Tried, func(t Tried) bool { return t.sentinel() == sentinel }) {
			return sentinel
		}
	}
	return ErrPoolExhausted
}

// OverlapError names two ranges that share addresses. It unwraps to ErrInvalidPools.
type OverlapError struct {
	Pool, Other       string
	Range, OtherRange netipx.IPRange
}

// Error names both pools and ranges.
func (e *OverlapError) Error() string {
	if e.Pool == e.Other {
		return fmt.Sprintf("pool %q: range %s overlaps its own range %s", e.Pool, e.Range, e.OtherRange)
	}
	return fmt.Sprintf("pool %q: range %s overlaps range %s of pool %q", e.Pool, e.Range, e.OtherRange, e.Other)
}

// Unwrap returns ErrInvalidPools.
func (e *OverlapError) Unwrap() error { return ErrInvalidPools }

// MismatchError says that an address that was asked for is in another pool than the request needs. It unwraps to ErrPoolMismatch.
type MismatchError struct {
	Addr       netip.Addr
	Pool, Want string
}

// Error names the address and both pools.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("address %s is in pool %q, not in pool %q", e.Addr, e.Pool, e.Want)
}

// Unwrap returns ErrPoolMismatch.
func (e *MismatchError) Unwrap() error { return ErrPoolMismatch }

// StrayError says that an address has left every pool and could not be replaced. It unwraps to ErrNotInPool and to the reason.
type StrayError struct {
	Addr netip.Addr
	Next error
}

// Error names the address and the reason.
func (e *StrayError) Error() string {
	return fmt.Sprintf("address %s has left every pool, and there is no other: %v", e.Addr, e.Next)
}

// Unwrap returns ErrNotInPool and why there is no replacement.
func (e *StrayError) Unwrap() []error { return []error{ErrNotInPool, e.Next} }

// EvictedError says that an owner lost its address because its own new sharing key, traffic policy or ports forbid it to stay
// beside another holder, and that there is no other address. It unwraps to both reasons.
type EvictedError struct {
	Conflict *ConflictError
	Next     error
}

// Error gives both reasons.
func (e *EvictedError) Error() string {
	return fmt.Sprintf("%v; and there is no other: %v", e.Conflict, e.Next)
}

// Unwrap returns both reasons.
func (e *EvictedError) Unwrap() []error { return []error{e.Conflict, e.Next} }

// ReservedError says that an address that was asked for is reserved for another owner. It unwraps to ErrReserved.
type ReservedError struct {
	Addr        netip.Addr
	Reservation string
	For         Owner
}

// Error names the address, the reservation and its owner.
func (e *ReservedError) Error() string {
	return fmt.Sprintf("address %s is reserved for %s by AddressReservation %q", e.Addr, e.For, e.Reservation)
}

// Unwrap returns ErrReserved.
func (e *ReservedError) Unwrap() error { return ErrReserved }

// UsedError says that an address that was asked for is in use by somebody who does not have it from the engine (Reservation.Use). It
// unwraps to ErrInUse.
type UsedError struct {
	Addr netip.Addr
	Use  string
}

// Error names the address and its use.
func (e *UsedError) Error() string { return fmt.Sprintf("address %s is in use: %s", e.Addr, e.Use) }

// Unwrap returns ErrInUse.
func (e *UsedError) Unwrap() error { return ErrInUse }
