package docs

import (
	"cmp"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/fairlead/fairlead/integration/testbed"
)

// TestSite builds the site: every link within it leads to a page and, if it names one, to a heading; every page of docs is there.
func TestSite(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.Command(testbed.Folder("bin", "hugo"), "--source", testbed.Folder("tools", "site"), "--destination", dir, "--panicOnWarning", "--noBuildLock").CombinedOutput()
	require.NoError(t, err, "%s", out)

	pages := map[string]*html.Node{} // by path: "/docs/kubectl"; that of the site itself is "/"
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "index.html" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		rel, err := filepath.Rel(dir, filepath.Dir(path))
		require.NoError(t, err)
		pages[strings.TrimSuffix("/"+filepath.ToSlash(rel), ".")], err = html.Parse(f)
		return err
	}))
	links := 0
	for path, page := range pages {
		for n := range page.Descendants() {
			for _, a := range n.Attr {
				if n.Type != html.ElementNode || a.Key != "href" && a.Key != "src" {
					continue
				}
				u, err := url.Parse(a.Val)
				require.NoError(t, err, "%s: %s", path, a.Val)
				if u.Host != "" || u.Scheme != "" {
					assert.Equal(t, "a", n.Data, "%s loads %s from elsewhere", path, a.Val)
					continue
				}
				links++
				to := strings.TrimSuffix((&url.URL{Path: path + "/"}).ResolveReference(u).Path, "/")
				if other, is := pages[to]; is || to == "" {
					if to == "" {
						other = pages["/"]
					}
					assert.True(t, u.Fragment == "" || hasID(other, u.Fragment), "%s: %s: there is no such heading", path, a.Val)
					continue
				}
				assert.FileExists(t, filepath.Join(dir, to), "%s: %s", path, a.Val)
			}
		}
	}
	assert.Greater(t, links, 1000)
	sources := 0
	docs := testbed.Folder("docs")
	require.NoError(t, filepath.WalkDir(docs, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && path == filepath.Join(docs, "examples") {
			return cmp.Or(err, fs.SkipDir)
		}
		if filepath.Ext(path) == ".md" {
			sources++
			rel, err := filepath.Rel(docs, path)
			require.NoError(t, err)
			assert.Contains(t, pages, "/docs/"+strings.ToLower(strings.TrimSuffix(filepath.ToSlash(rel), ".md")))
		}
		return nil
	}))
	assert.Greater(t, sources, 20)
}

func hasID(page *html.Node, id string) bool {
	for n := range page.Descendants() {
		for _, a := range n.Attr {
			if a.Key == "id" && a.Val == id {
				return true
			}
		}
	}
	return false
}
