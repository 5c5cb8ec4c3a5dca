package crds_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/fairlead/fairlead/api/crds"
)

var update = flag.Bool("update", false, "rewrite testdata/fields.txt from the generated CRDs")

// testdata/fields.txt is what we publish; testdata/metallb.txt is what MetalLB publishes. Both have one block for each
// version of a kind: a head line, a line for each printer column, and a line for each field with its type and attributes.
const (
	fieldsFile  = "testdata/fields.txt"
	metallbFile = "testdata/metallb.txt"
)

// tightened lists the attributes, CEL rules aside, that ours has beyond MetalLB's, by "kind version path".
// Each needs a reason. Nothing that MetalLB promises may be missing or of another type: there is no list for that.
var tightened = map[string][]string{
	// MetalLB's own admission refuses more than 32 and more than 128; a negative length never fits a pool.
	"BGPAdvertisement metallb.io/v1beta1 spec.aggregationLength":   {"maximum=32"},
	"BGPAdvertisement metallb.io/v1beta1 spec.aggregationLengthV6": {"minimum=0", "maximum=128"},
	// A path attribute of 255 bytes holds 63 communities; MetalLB refuses to advertise more.
	"BGPAdvertisement metallb.io/v1beta1 spec.communities": {"maxItems=63"},
	// CEL rules need a bound to be admitted; the longest community has 38 characters.
	"BGPAdvertisement metallb.io/v1beta1 spec.communities[]": {"maxLength=253"},
	// A negative number cannot be read into MetalLB's unsigned field and would stop every reader of the list.
	"BGPAdvertisement metallb.io/v1beta1 spec.localPref": {"minimum=0"},
	// CEL rules need a bound to be admitted; further aliases can go into a second object.
	"Community metallb.io/v1beta1 spec.communities":         {"maxItems=256"},
	"Community metallb.io/v1beta1 spec.communities[].name":  {"maxLength=253"},
	"Community metallb.io/v1beta1 spec.communities[].value": {"maxLength=253"},
	// CEL rules need a bound to be admitted; the longest range without blanks has 91 characters.
	"IPAddressPool metallb.io/v1beta1 spec.addresses":   {"maxItems=1024"},
	"IPAddressPool metallb.io/v1beta1 spec.addresses[]": {"maxLength=100"},
}

func TestAllIsSortedAndFresh(t *testing.T) {
	first, err := crds.All()
	require.NoError(t, err)
	var names []string
	for _, crd := range first {
		names = append(names, crd.Name)
		crd.Name = "changed"
	}
	assert.True(t, slices.IsSorted(names), "%v", names)
	assert.Len(t, names, 12)

	second, err := crds.All()
	require.NoError(t, err)
	for i, crd := range second {
		assert.Equal(t, names[i], crd.Name)
		assert.Nil(t, crd.Spec.Conversion, "%s: a conversion webhook is not wanted", crd.Name)
	}
}

func TestFieldsAreAsPublished(t *testing.T) {
	got := generatedTable(t)
	if *update {
		require.NoError(t, os.WriteFile(fieldsFile, []byte(strings.Join(got, "\n")+"\n"), 0o644))
	}
	ours, published := parseTable(t, got), parseTable(t, readLines(t, fieldsFile))
	for _, key := range slices.Sorted(maps.Keys(published)) {
		line, ok := ours[key]
		if !assert.True(t, ok, "%s is in %s but not in the CRDs", key, fieldsFile) {
			continue
		}
		assert.Equal(t, published[key], line, "%s differs from %s", key, fieldsFile)
	}
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		_, ok := published[key]
		assert.True(t, ok, "%s is in the CRDs but not in %s", key, fieldsFile)
	}
}

func TestFieldsSatisfyMetalLB(t *testing.T) {
	ours, theirs := parseTable(t, generatedTable(t)), parseTable(t, readLines(t, metallbFile))
	require.NotEmpty(t, theirs)
	for _, key := range slices.Sorted(maps.Keys(theirs)) {
		line, ok := ours[key]
		if !assert.True(t, ok, "%s is missing", key) {
			continue
		}
		for _, attribute := range theirs[key] {
			assert.Contains(t, line, attribute, "%s lacks %s", key, attribute)
		}
		for _, attribute := range line {
			if !strings.HasPrefix(attribute, "rule=") && !slices.Contains(theirs[key], attribute) {
				assert.Contains(t, tightened[key], attribute, "%s is narrower than MetalLB's: %s", key, attribute)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		if strings.Contains(key, " metallb.io/") && !slices.Contains(ours[key], "rule=has(self.value)") {
			assert.Contains(t, theirs, key, "%s is not a field of MetalLB", key)
		}
	}
	for key, attributes := range tightened {
		assert.Subset(t, ours[key], attributes, "%s: the list of differences is out of date", key)
	}
}

// generatedTable renders every version of every CRD as lines of the table.
func generatedTable(t *testing.T) []string {
	t.Helper()
	all, err := crds.All()
	require.NoError(t, err)
	slices.SortFunc(all, func(a, b *apiextensionsv1.CustomResourceDefinition) int {
		return strings.Compare(a.Spec.Names.Kind, b.Spec.Names.Kind)
	})
	var lines []string
	for _, crd := range all {
		for _, version := range crd.Spec.Versions {
			if len(lines) > 0 {
				lines = append(lines, "")
			}
			lines = append(lines, versionLines(crd, version)...)
		}
	}
	return lines
}

func versionLines(crd *apiextensionsv1.CustomResourceDefinition, version apiextensionsv1.CustomResourceDefinitionVersion) []string {
	lines := []string{fmt.Sprintf("%s %s/%s plural=%s scope=%s storage=%s served=%s deprecated=%s status-subresource=%s",
		crd.Spec.Names.Kind, crd.Spec.Group, version.Name, crd.Spec.Names.Plural, crd.Spec.Scope, boolean(version.Storage),
		boolean(version.Served), boolean(version.Deprecated), boolean(version.Subresources != nil && version.Subresources.Status != nil))}
	for _, column := range version.AdditionalPrinterColumns {
		priority := ""
		if column.Priority != 0 {
			priority = fmt.Sprintf(", priority %d", column.Priority)
		}
		lines = append(lines, fmt.Sprintf("  column %s: %s (%s%s)", column.Name, column.JSONPath, column.Type, priority))
	}
	root := version.Schema.OpenAPIV3Schema
	for _, name := range slices.Sorted(maps.Keys(root.Properties)) {
		if name != "apiVersion" && name != "kind" && name != "metadata" {
			lines = append(lines, fieldLines(name, root.Properties[name], slices.Contains(root.Required, name))...)
		}
	}
	return lines
}

// fieldLines renders a field and the fields in it. The object that is the item of a list has a line only if it has rules.
func fieldLines(path string, schema apiextensionsv1.JSONSchemaProps, required bool) []string {
	var lines []string
	if !strings.HasSuffix(path, "[]") || schema.Type != "object" || len(schema.XValidations) > 0 {
		lines = append(lines, "  "+path+": "+strings.Join(attributes(schema, required), " "))
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		lines = append(lines, fieldLines(path+"."+name, schema.Properties[name], slices.Contains(schema.Required, name))...)
	}
	if schema.Items != nil {
		lines = append(lines, fieldLines(path+"[]", *schema.Items.Schema, false)...)
	}
	if schema.AdditionalProperties != nil {
		lines = append(lines, fieldLines(path+".*", *schema.AdditionalProperties.Schema, false)...)
	}
	return lines
}

// attributes renders the type of a schema and all that bounds its values.
func attributes(schema apiextensionsv1.JSONSchemaProps, required bool) []string {
	out := []string{schema.Type}
	add := func(present bool, name string, value any) {
		if present {
			out = append(out, fmt.Sprintf("%s=%v", name, value))
		}
	}
	if required {
		out = append(out, "required")
	}
	add(schema.Format != "", "format", schema.Format)
	if schema.Default != nil {
		var value any
		if err := json.Unmarshal(schema.Default.Raw, &value); err != nil {
			value = string(schema.Default.Raw)
		}
		if b, ok := value.(bool); ok {
			value = boolean(b)
		}
		add(true, "default", value)
	}
	if len(schema.Enum) > 0 {
		var values []string
		for _, value := range schema.Enum {
			values = append(values, strings.ReplaceAll(string(value.Raw), `"`, "'"))
		}
		add(true, "enum", "["+strings.Join(values, ", ")+"]")
	}
	add(schema.Pattern != "", "pattern", schema.Pattern)
	addFloat := func(name string, value *float64) {
		if value != nil {
			add(true, name, strconv.FormatFloat(*value, 'f', -1, 64))
		}
	}
	addInt := func(name string, value *int64) {
		if value != nil {
			add(true, name, *value)
		}
	}
	addFloat("minimum", schema.Minimum)
	addFloat("maximum", schema.Maximum)
	addInt("minLength", schema.MinLength)
	addInt("maxLength", schema.MaxLength)
	addInt("minItems", schema.MinItems)
	addInt("maxItems", schema.MaxItems)
	if schema.XListType != nil {
		add(true, "listType", *schema.XListType)
	}
	for _, rule := range schema.XValidations {
		add(true, "rule", rule.Rule)
	}
	return out
}

// parseTable returns the attributes of every line, by "kind version", "kind version column name" and "kind version path".
func parseTable(t *testing.T, lines []string) map[string][]string {
	t.Helper()
	table := map[string][]string{}
	head := ""
	for _, line := range lines {
		field, indented := strings.CutPrefix(line, "  ")
		switch {
		case line == "":
		case !indented:
			words := strings.Fields(line)
			head = words[0] + " " + words[1]
			table[head] = words[2:]
		case strings.HasPrefix(field, "column "):
			name, rest, ok := strings.Cut(field, ": ")
			require.True(t, ok, line)
			table[head+" "+name] = []string{rest}
		default:
			path, rest, ok := strings.Cut(field, ": ")
			require.True(t, ok, line)
			require.NotContains(t, table, head+" "+path, "listed twice")
			table[head+" "+path] = splitAttributes(rest)
		}
	}
	return table
}

// splitAttributes splits at the blanks before the name of an attribute; the values may have blanks in them.
func splitAttributes(text string) []string {
	names := []string{"format=", "default=", "enum=", "pattern=", "minimum=", "maximum=", "minLength=", "maxLength=", "minItems=", "maxItems=", "listType=", "rule="}
	var out []string
	for i, word := range strings.Split(text, " ") {
		named := slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(word, name) })
		if i == 0 || named || i == 1 && word == "required" {
			out = append(out, word)
		} else {
			out[len(out)-1] += " " + word
		}
	}
	return out
}

func readLines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func boolean(b bool) string {
	if b {
		return "True"
	}
	return "False"
}
