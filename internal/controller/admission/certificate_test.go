package admission

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRenew: the certificate is renewed in time, the CA stays as long as it is good.
func TestRenew(t *testing.T) {
	now := time.Now()
	c := newCertificate(nil, nil, "metallb-system", DefaultService, slog.New(slog.DiscardHandler))
	c.now = func() time.Time { return now }
	first, err := c.renew(nil)
	require.NoError(t, err)
	again, err := c.renew(first)
	require.NoError(t, err)
	assert.Nil(t, again, "a good certificate stays")

	now = now.Add(serverLife - lookahead - time.Hour)
	again, err = c.renew(first)
	require.NoError(t, err)
	assert.Nil(t, again, "before the lookahead")

	now = now.Add(2 * time.Hour)
	second, err := c.renew(first)
	require.NoError(t, err)
	assert.NotEqual(t, first["tls.crt"], second["tls.crt"])
	assert.Equal(t, first["ca.crt"], second["ca.crt"])
	again, err = c.renew(second)
	require.NoError(t, err)
	assert.Nil(t, again)

	now = now.Add(caLife - serverLife)
	third, err := c.renew(second)
	require.NoError(t, err)
	assert.NotEqual(t, first["ca.crt"], third["ca.crt"])

	broken, err := c.renew(map[string][]byte{"ca.crt": []byte("x"), "ca.key": []byte("y"), "tls.crt": third["tls.crt"]})
	require.NoError(t, err)
	assert.Len(t, broken, 4, "what cannot be read is replaced")

	other := newCertificate(nil, nil, "metallb-system", "another-name", slog.New(slog.DiscardHandler))
	renamed, err := other.renew(third)
	require.NoError(t, err)
	assert.NotNil(t, renamed, "a certificate for another name does not serve")
}
