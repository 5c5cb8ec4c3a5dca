package keep_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/process/keep"
)

// TestTheirs: of objects that somebody else makes, the status is kept, and nothing else.
func TestTheirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		o := options(d, "a")
		o.Theirs = true
		o.Key = func(o *v1beta1.ServiceL2Status) string { return string(o.UID) }
		add := func(name string) *v1beta1.ServiceL2Status {
			x := o.New(name)
			x.Name = name
			require.NoError(t, d.Create(t.Context(), x))
			return x
		}
		web, db, dns := add("web"), add("db"), add("dns")
		k := keep.New(o)
		start(t, k)
		want := map[string]says{string(web.UID): {Node: "web"}, string(db.UID): {Node: "db"}, "uid-4": {Node: "mail"}}
		k.Set(want, nil)
		settle()
		assert.Equal(t, map[string]says{"web": {Node: "web"}, "db": {Node: "db"}, "dns": {}}, said(t, d, "a"))
		assert.Equal(t, 2, d.Writes("patch"))
		require.Equal(t, "uid-4", string(add("mail").UID))
		settle()
		assert.Equal(t, says{Node: "mail"}, said(t, d, "a")["mail"], "it is told as soon as it is there")

		for _, x := range objects(t, d) {
			switch x.Name {
			case "web":
				x.Status = says{Node: "made up"}
				require.NoError(t, d.Status().Update(t.Context(), &x))
			case "db":
				require.NoError(t, d.Delete(t.Context(), &x))
			}
		}
		settle()
		assert.Equal(t, map[string]says{"web": {Node: "web"}, "mail": {Node: "mail"}, "dns": {}}, said(t, d, "a"))
		again := add("db")
		k.Set(map[string]says{string(db.UID): {Node: "db"}, string(dns.UID): {Node: "dns"}}, nil)
		settle()
		left := map[string]says{"web": {Node: "web"}, "mail": {Node: "mail"}, "dns": {Node: "dns"}, "db": {}}
		assert.Equal(t, left, said(t, d, "a"), "the db is another one")
		assert.Equal(t, 1, d.Writes("delete"), "what nothing is said of any more stays")
		assert.Equal(t, 5, d.Writes("create"))
		assert.NotEqual(t, db.UID, again.UID)
		before := d.Writes("")
		time.Sleep(time.Hour)
		assert.Equal(t, before, d.Writes(""))
	})
}

// TestTheirsReplaced has a cache that has not seen yet that another object has the name: it is not told of.
func TestTheirsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		o := options(d, "a")
		o.Theirs = true
		o.Key = func(o *v1beta1.ServiceL2Status) string { return string(o.UID) }
		web := o.New("web")
		web.Name = "web"
		require.NoError(t, d.Create(t.Context(), web))
		k := keep.New(o)
		start(t, k)
		d.Freeze()
		require.NoError(t, d.Delete(t.Context(), web))
		again := o.New("web")
		again.Name = "web"
		require.NoError(t, d.Create(t.Context(), again))
		k.Set(map[string]says{string(web.UID): {Node: "web"}}, nil)
		settle()
		assert.Equal(t, map[string]says{"web": {}}, said(t, d, "a"))
	})
}
