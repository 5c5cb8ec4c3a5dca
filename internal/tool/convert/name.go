package convert

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// objectName is the name that an object gets. One that Kubernetes does not take is made as MetalLB's own converter makes it: small
// letters, "-" for what is not allowed, from the first letter on. What has no letter is returned as it is.
func objectName(name string) string {
	if len(validation.IsDNS1123Subdomain(name)) == 0 {
		return name
	}
	s := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	i := strings.IndexFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' })
	if i < 0 {
		return name
	}
	s = strings.TrimRight(s[i:min(len(s), i+63)], "-.")
	if len(validation.IsDNS1123Subdomain(s)) > 0 {
		return name
	}
	return s
}
