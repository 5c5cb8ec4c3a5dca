package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// recipe is what a Dockerfile says of an image.
type recipe struct {
	config v1.Config
	files  []string // to be copied to the root, by their paths in the repository
}

// readDockerfile reads one that begins at scratch and copies files to the root. args are the build arguments. What it has beside that is
// an error: the image would not be the one that 'make image' builds.
func readDockerfile(path string, args map[string]string) (*recipe, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ast, err := parser.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	stages, _, err := instructions.Parse(ast.AST, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(stages) != 1 || stages[0].BaseName != "scratch" {
		return nil, fmt.Errorf("%s: want one stage, from scratch", path)
	}
	r := &recipe{config: v1.Config{Labels: map[string]string{}}}
	env := environment{}
	expand := func(word string) (string, error) {
		out, _, err := shell.NewLex('\\').ProcessWord(word, env)
		return out, err
	}
	for _, c := range stages[0].Commands {
		if e, ok := c.(instructions.SupportsSingleWordExpansion); ok {
			if err := e.Expand(expand); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, c.Name(), err)
			}
		}
		switch c := c.(type) {
		case *instructions.ArgCommand:
			for _, a := range c.Args {
				if given, ok := args[a.Key]; ok {
					env[a.Key] = given
				} else if a.Value != nil {
					env[a.Key] = *a.Value
				}
			}
		case *instructions.LabelCommand:
			for _, l := range c.Labels {
				r.config.Labels[l.Key] = l.Value
			}
		case *instructions.CopyCommand:
			if c.DestPath != "/" || c.From != "" || c.Chown != "" || c.Chmod != "" {
				return nil, fmt.Errorf("%s: %s: want files of the repository that are copied to /", path, c)
			}
			r.files = append(r.files, c.SourcePaths...)
		case *instructions.UserCommand:
			r.config.User = c.User
		case *instructions.CmdCommand:
			if c.PrependShell {
				return nil, fmt.Errorf("%s: %s: there is no shell: want a list in JSON", path, c)
			}
			r.config.Cmd = c.CmdLine
		default:
			return nil, fmt.Errorf("%s: the instruction %s is not known here: teach it to tools/release", path, c.Name())
		}
	}
	return r, nil
}

// environment is a shell.EnvGetter.
type environment map[string]string

func (e environment) Get(key string) (string, bool) {
	v, ok := e[key]
	return v, ok
}

func (e environment) Keys() []string { return slices.Sorted(maps.Keys(e)) }
