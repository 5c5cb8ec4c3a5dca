package migrate

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUnknownIsNotWaiting: of Services that nobody tells of it is said that this is unknown, why, and what to do; each is named where --force goes on.
func TestUnknownIsNotWaiting(t *testing.T) {
	const why = "SessionsUnknown: calico has been told; Calico's nodes are not asked (--calico-session-samples=0)"
	unknown := []silent{{"shop/mail", why, true}, {"shop/web", why, true}}
	pending := silent{"shop/new", "Pending: calico has not been told yet", false}

	assert.Equal(t, "it is not known whether a router hears 2 Services, such as shop/mail ("+why+"). "+knownHelp, waits(unknown))
	assert.Equal(t, "waiting until Fairlead announces 1 Service, such as shop/new ("+pending.why+"); it is not known whether a router hears 2 Services, such as shop/mail ("+why+"). "+knownHelp,
		waits(append([]silent{pending}, unknown...)))
	assert.Equal(t, "waiting until Fairlead announces 1 Service, such as shop/new ("+pending.why+")", waits([]silent{pending}))

	err := lacking(append([]silent{pending}, unknown...))
	require.ErrorIs(t, err, errSilent)
	assert.Equal(t, "less is announced than by MetalLB: Fairlead lacks 1 Service, such as shop/new ("+pending.why+"); nobody says whether a router hears 2 Services: shop/mail ("+why+"), shop/web. "+knownHelp, err.Error())
	assert.Equal(t, "It is not known whether a router hears 2 Services that MetalLB announces:\n  shop/mail: "+why+"\n  shop/web: "+why+"\n  "+knownHelp, listed(unknown))

	var many []silent
	for i := range mostListed + 3 {
		many = append(many, silent{fmt.Sprintf("shop/s%d", i), why, true})
	}
	assert.Contains(t, lacking(many).Error(), "shop/s9 and 3 more. ")
}
