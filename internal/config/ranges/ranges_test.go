package ranges

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ name, in, want, err string }{
		{name: "CIDR", in: "192.0.2.0/24", want: "192.0.2.0-192.0.2.255"},
		{name: "CIDR with host bits", in: "192.0.2.7/24", want: "192.0.2.0-192.0.2.255"},
		{name: "single address", in: "192.0.2.7/32", want: "192.0.2.7-192.0.2.7"},
		{name: "IPv6 CIDR", in: "fc00:f853:0ccd:e799::/124", want: "fc00:f853:ccd:e799::-fc00:f853:ccd:e799::f"},
		{name: "range", in: "192.168.9.1-192.168.9.5", want: "192.168.9.1-192.168.9.5"},
		{name: "range with blanks", in: " 192.168.9.1 -  192.168.9.5 ", want: "192.168.9.1-192.168.9.5"},
		{name: "IPv6 range", in: "2001:DB8::A-2001:db8::f", want: "2001:db8::a-2001:db8::f"},
		{name: "mapped range", in: "::ffff:10.0.0.1-::ffff:10.0.0.9", want: "10.0.0.1-10.0.0.9"},
		{name: "mapped CIDR", in: "::ffff:10.0.0.0/120", want: "10.0.0.0-10.0.0.255"},
		{name: "length with leading zeros", in: "10.0.0.0/08", want: "10.0.0.0-10.255.255.255"},
		{name: "length zero", in: "0.0.0.0/00", want: "0.0.0.0-255.255.255.255"},
		{name: "length with a sign", in: "10.0.0.0/+8", err: "is neither a CIDR"},
		{name: "whole of IPv6", in: "::/0", want: "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{name: "bad octet", in: "10.0.0.300", err: `"10.0.0.300" is neither a CIDR like 192.0.2.0/24 or 2001:db8::/64 nor a range like 192.0.2.10-192.0.2.20`},
		{name: "bad octet in range", in: "10.0.0.1-10.0.0.300", err: `"10.0.0.300" is not an IP address`},
		{name: "reversed", in: "10.0.0.9-10.0.0.1", err: "ends before it begins: write 10.0.0.1-10.0.0.9"},
		{name: "reversed IPv6", in: "2001:db8::9-2001:db8::1", err: "ends before it begins"},
		{name: "mixed families", in: "10.0.0.1-2001:db8::1", err: "mixes IPv4 and IPv6"},
		{name: "mapped prefix too short", in: "::ffff:10.0.0.0/90", err: "mixes IPv4 and IPv6"},
		{name: "bare address", in: "10.0.0.1", err: "is neither a CIDR"},
		{name: "prefix too long", in: "10.0.0.0/33", err: "is neither a CIDR"},
		{name: "zone", in: "fe80::1%eth0-fe80::2%eth0", err: "is not an IP address"},
		{name: "empty", in: "", err: "is neither a CIDR"},
		{name: "half a range", in: "10.0.0.1-", err: `"" is not an IP address`},
		{name: "three parts", in: "10.0.0.1-10.0.0.2-10.0.0.3", err: "is not an IP address"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse(tc.in)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.want, got.String())
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "10.0.0.1 - 10.0.0.9", "2001:db8::/64", "::ffff:1.2.3.4/100", "-", "/", "::-::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			require.False(t, r.IsValid())
			return
		}
		require.True(t, r.IsValid())
		require.False(t, r.From().Is4In6() || r.To().Is4In6())
		again, err := Parse(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
