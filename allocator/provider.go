package allocator

import (
	"context"
	"errors"
	"net/netip"
)

// A Provider is what gives out the addresses of external pools (Pool.External): an IPAM outside the cluster, or another engine.
// [Builtin] is one that needs nothing else; allocator/clusterapi speaks the IPAM contract of Cluster API. allocatortest.Run checks
// what is promised here.
//
// A Provider remembers: what it has given stays given, over restarts of either side, until it is released. It is safe for concurrent use.
type Provider interface {
	// Ask asks for what c describes and returns what is known of it at present. It is idempotent: an ID that was asked for already has
	// the answer that it has had, and is never given a second address. It does not wait for an answer that takes time: Watch tells when
	// there is one. An error means that the Provider could not be asked, and nothing else: ask again.
	Ask(ctx context.Context, c Claim) (Answer, error)
	// Release gives back what an ID was given, and withdraws its claim. Releasing what was never asked for is no error.
	Release(ctx context.Context, id string) error
	// List returns every claim that this installation has made and not released, whoever made it: a process that starts learns from it
	// what it has.
	List(ctx context.Context) ([]Claimed, error)
	// Watch calls changed with the ID of each claim whose answer may have changed, until ctx ends, and tells of changes that came before it
	// was called, too. changed does not block. An error means that nothing is told any more; call Watch and List again. It is ErrGone if there are
	// no claims any more.
	Watch(ctx context.Context, changed func(id string)) error
	// Pool returns what the Provider knows of one of its pools. An error means that it could not be asked.
	Pool(ctx context.Context, name string) (PoolState, error)
}

// PoolState is what a Provider knows of one of its pools.
type PoolState struct {
	// Refusal is RefusedPool if there is no such pool, and Why says what is wrong with its name; both are empty otherwise.
	Refusal Refusal
	Why     string
	// Free of Total addresses are free, if Counted.
	Counted     bool
	Free, Total int64
}

// ErrGone: what held the claims of a Provider does not exist, or does not exist any more.
var ErrGone = errors.New("what holds the claims does not exist")

// A Claim asks a Provider for one address of one family.
type Claim struct {
	// ID tells claims apart. Who asks makes it from what will not come again, such as the UID of a Service; it is a DNS label (RFC 1123).
	ID string
	// Owner is whom the address is for, for people who look at the Provider.
	Owner  Owner
	Family Family
	// Pool is the Provider's own name of the pool to take it from.
	Pool string
	// Has is the address that the owner has already, if it has one: a Provider that can gives exactly this one.
	Has netip.Addr
}

// Claimed is a claim, and what the Provider says to it.
type Claimed struct {
	Claim
	Answer Answer
}

// Answer is what a Provider says to a claim at present: an address, a refusal, or, if it has neither, not yet. It is comparable; the zero
// value means that there is no answer.
type Answer struct {
	Addr    netip.Addr
	Refusal Refusal
	// Why explains a refusal, or why there is no address yet, in the Provider's own words. It may be empty.
	Why string
}

// Refusal is why a Provider gives no address. A refusal may end: the claim stays, and Watch tells.
type Refusal string

// The refusals there are.
const (
	// RefusedExhausted: the Provider's pool is used up.
	RefusedExhausted Refusal = "Exhausted"
	// RefusedPool: the Provider has no such pool.
	RefusedPool Refusal = "NoSuchPool"
	// RefusedInvalid: what the Provider has answered is no address that a Service can have.
	RefusedInvalid Refusal = "InvalidAnswer"
	// RefusedForeign: somebody else has made a claim of this ID.
	RefusedForeign Refusal = "ForeignClaim"
	// RefusedOther: anything else.
	RefusedOther Refusal = "Refused"
)
