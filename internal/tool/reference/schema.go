package reference

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"

	"github.com/fairlead/fairlead/internal/tool/document"
)

// Schemas writes JSON Schemas of documents.
type Schemas struct {
	reflector *jsonschema.Reflector
	counts    bool // the schema that is being made has counts
}

// NewSchemas takes the descriptions of fields from the comments in folders of Go files, as they are seen from pkg, the package of the test.
func NewSchemas(t testing.TB, pkg string, folders ...string) *Schemas {
	t.Helper()
	s := &Schemas{}
	s.reflector = &jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true, AllowAdditionalProperties: true, // fields may be added
		Namer: name, Mapper: s.mapped,
	}
	for _, f := range folders {
		if err := s.reflector.AddGoComments(pkg, f); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// name tells types of different packages apart; types without a name have none.
func name(t reflect.Type) string {
	if t.Name() == "" {
		return ""
	}
	return path.Base(t.PkgPath()) + "." + t.Name()
}

// mapped maps the one type that becomes something else than its kind of Go type.
func (s *Schemas) mapped(t reflect.Type) *jsonschema.Schema {
	if t != reflect.TypeFor[document.Count]() {
		return nil
	}
	s.counts = true
	return &jsonschema.Schema{Ref: "#/$defs/" + countName}
}

const countName = "document.Count"

// count is the schema of a document.Count.
func count() *jsonschema.Schema {
	return &jsonschema.Schema{
		OneOf: []*jsonschema.Schema{
			{Type: "integer", Minimum: "0", Maximum: json.Number(fmt.Sprint(int64(document.Exact)))},
			{Type: "string", Pattern: "^[0-9]+$"},
		},
		Description: fmt.Sprintf("A number up to %d, 2^53-1; above, a string of digits. 9223372036854775807 stands for that many or more.", document.Exact),
	}
}

// Of returns the schema of a kind, whose documents are made of values like v.
func (s *Schemas) Of(t testing.TB, kind document.Kind, v any) string {
	t.Helper()
	s.counts = false
	schema := s.reflector.Reflect(v)
	if s.counts {
		schema.Definitions[countName] = count()
	}
	schema.Title = string(kind)
	schema.Properties.Set("kind", &jsonschema.Schema{Type: "string", Const: string(kind)})
	schema.Properties.Set("apiVersion", &jsonschema.Schema{Type: "string", Const: document.APIVersion})
	for _, first := range []string{"kind", "apiVersion"} {
		if err := schema.Properties.MoveToFront(first); err != nil {
			t.Fatal(err)
		}
	}
	schema.Required = append([]string{"apiVersion", "kind"}, schema.Required...)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(schema); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Kinds returns a table of all kinds of documents.
func Kinds() string {
	var out strings.Builder
	out.WriteString("| kind | printed by |\n|---|---|\n")
	for _, kind := range slices.Sorted(maps.Keys(document.Sources)) {
		fmt.Fprintf(&out, "| [%s](%s.json) | %s |\n", kind, kind, document.Sources[kind])
	}
	return out.String()
}
