package backendtest

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// EveryField tests that two values are not equal if they differ in one field of their struct, whichever, but for those that are named: a
// field that is new cannot be forgotten where somebody compares.
func EveryField[T any](t *testing.T, equal func(a, b T) bool, ignored ...string) {
	t.Helper()
	var zero T
	assert.True(t, equal(zero, zero))
	typ := reflect.TypeFor[T]()
	for _, name := range ignored {
		_, there := typ.FieldByName(name)
		assert.True(t, there, "%s has no field %s", typ, name)
	}
	for i := range typ.NumField() {
		field := typ.Field(i)
		if slices.Contains(ignored, field.Name) {
			continue
		}
		var other T
		fill(reflect.ValueOf(&other).Elem().Field(i))
		assert.False(t, equal(zero, other), "%s.%s is not compared", typ, field.Name)
		assert.False(t, equal(other, zero), "%s.%s is not compared", typ, field.Name)
	}
}

// fill makes v something else than zero.
func fill(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *netip.Addr:
		*x = netip.MustParseAddr("192.0.2.1")
		return
	case *netip.Prefix:
		*x = netip.MustParsePrefix("192.0.2.0/24")
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		fill(v.Field(0))
	default:
		panic("no value for " + v.Type().String())
	}
}
