package layer2

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseExclude(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		want       []string
		err        string
	}{
		{name: "MetalLB's file", file: "announcedInterfacesToExclude: [\"^docker.*\", \"^lo$\"]\n", want: []string{"^docker.*", "^lo$"}},
		{name: "a list below", file: "announcedInterfacesToExclude:\n- ^eth1$\n", want: []string{"^eth1$"}},
		{name: "nothing"},
		{name: "an empty list", file: "announcedInterfacesToExclude: []\n"},
		{name: "no regular expression", file: "announcedInterfacesToExclude: [\"^ok$\", \"*eth\"]",
			err: `announcedInterfacesToExclude[1]: "*eth" is not a regular expression: error parsing regexp: missing argument to repetition operator: ` +
				"`*`" + `; write "^eth1$" for one name, "^eth.*" for all that begin so`},
		{name: "a number", file: "announcedInterfacesToExclude: [5]", err: `announcedInterfacesToExclude[0]: 5 is not text; write it in quotes, as in "^eth1$"`},
		{name: "empty entry", file: "announcedInterfacesToExclude: ['']",
			err: `announcedInterfacesToExclude[0]: an empty expression excludes every interface; write ".*" if that is meant`},
		{name: "no list", file: "announcedInterfacesToExclude: ^eth1$",
			err: `announcedInterfacesToExclude: ^eth1$ is not a list; write announcedInterfacesToExclude: ["^eth1$"]`},
		{name: "another field", file: "announcedInterfaces: []", err: `unknown field "announcedInterfaces"; the only field is announcedInterfacesToExclude`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseExclude([]byte(tc.file))
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			require.NotNil(t, got)
			var text []string
			for _, re := range got {
				text = append(text, re.String())
			}
			assert.Equal(t, tc.want, text)
		})
	}
}

func TestDefaultExclude(t *testing.T) {
	for name, want := range map[string]bool{
		"lo": true, "lo1": false, "docker0": true, "cbr0": true, "dummy0": true, "virbr0": true, "lxcbr0": true, "veth12ab": true,
		"cali123": true, "tunl0": true, "flannel.1": true, "kube-ipvs0": true, "cni0": true, "nodelocaldns": true, "lxc99": true,
		"eth0": false, "ens18": false, "bond0": false, "br-ex": false, "eno1.100": false, "mycali0": false,
	} {
		assert.Equal(t, want, excluded(name, DefaultExclude), name)
	}
}
