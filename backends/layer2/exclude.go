package layer2

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"sigs.k8s.io/yaml"
)

// DefaultExclude is MetalLB's list of interfaces that are never used: those that containers and CNIs make.
var DefaultExclude = []*regexp.Regexp{
	regexp.MustCompile(`^docker.*`),
	regexp.MustCompile(`^cbr.*`),
	regexp.MustCompile(`^dummy.*`),
	regexp.MustCompile(`^virbr.*`),
	regexp.MustCompile(`^lxcbr.*`),
	regexp.MustCompile(`^veth.*`),
	regexp.MustCompile(`^lo$`),
	regexp.MustCompile(`^cali.*`),
	regexp.MustCompile(`^tunl.*`),
	regexp.MustCompile(`^flannel.*`),
	regexp.MustCompile(`^kube-ipvs.*`),
	regexp.MustCompile(`^cni.*`),
	regexp.MustCompile(`^nodelocaldns.*`),
	regexp.MustCompile(`^lxc.*`),
}

const excludeField = "announcedInterfacesToExclude"

// ParseExclude reads MetalLB's excludel2.yaml: one field, announcedInterfacesToExclude, a list of regular expressions. The list
// replaces the default one; it is empty, not nil, if the file excludes nothing. All faults are reported.
func ParseExclude(b []byte) ([]*regexp.Regexp, error) {
	var file struct {
		Entries any `json:"announcedInterfacesToExclude"`
	}
	if err := yaml.UnmarshalStrict(b, &file); err != nil {
		return nil, fmt.Errorf("read the list of excluded interfaces: %w; the only field is %s", err, excludeField)
	}
	if file.Entries == nil {
		return []*regexp.Regexp{}, nil
	}
	entries, ok := file.Entries.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: %v is not a list; write %s: [%q]", excludeField, file.Entries, excludeField, fmt.Sprint(file.Entries))
	}
	out := make([]*regexp.Regexp, 0, len(entries))
	var errs []error
	for i, e := range entries {
		re, err := parseExcluded(e)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s[%d]: %w", excludeField, i, err))
			continue
		}
		out = append(out, re)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

func parseExcluded(entry any) (*regexp.Regexp, error) {
	s, ok := entry.(string)
	switch {
	case !ok:
		return nil, fmt.Errorf(`%v is not text; write it in quotes, as in "^eth1$"`, entry)
	case s == "":
		return nil, errors.New(`an empty expression excludes every interface; write ".*" if that is meant`)
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf(`%q is not a regular expression: %w; write "^eth1$" for one name, "^eth.*" for all that begin so`, s, err)
	}
	return re, nil
}

// excluded reports whether one of the expressions matches an interface's name.
func excluded(name string, exclude []*regexp.Regexp) bool {
	return slices.ContainsFunc(exclude, func(re *regexp.Regexp) bool { return re.MatchString(name) })
}
