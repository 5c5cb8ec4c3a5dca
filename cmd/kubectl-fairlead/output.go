package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// output is how a report is printed.
type output struct {
	format  string
	formats []string
}

const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatYAML  = "yaml"
)

var allFormats = []string{formatTable, formatWide, formatJSON, formatYAML}

// show prints a report for people.
type show = func(s *screen.Screen, wide bool)

// reports has cmd print what tell says of the cluster, a document of a kind. It fails if one of the kinds that it needs may not be read, after it has shown the
// rest.
func (c *connection) reports(cmd *cobra.Command, kind document.Kind, needs []string,
	tell func(m *survey.Model, args []string) (report any, show show, err error)) *cobra.Command {
	var o output
	cmd.RunE = c.run(&o, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		m, err := c.model(ctx)
		if err != nil {
			return err
		}
		report, show, err := tell(m, args)
		if err != nil {
			return err
		}
		if err := o.print(cmd, kind, report, show); err != nil {
			return err
		}
		return m.Need(needs...)
	})
	c.addFlags(cmd)
	o.addFlag(cmd, allFormats...)
	return cmd
}

// addFlag adds -o with the formats that a command has, the default first.
func (o *output) addFlag(cmd *cobra.Command, formats ...string) {
	o.formats = formats
	cmd.Flags().StringVarP(&o.format, "output", "o", formats[0], "format: "+strings.Join(formats, ", "))
	complete(cmd, "output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return formats, cobra.ShellCompDirectiveNoFileComp
	})
}

func (o *output) check() error {
	if !slices.Contains(o.formats, o.format) {
		return fmt.Errorf("--output: %q is not a format; use one of %s", o.format, strings.Join(o.formats, ", "))
	}
	return nil
}

// print prints a report: as a document of a kind, or by show.
func (o *output) print(cmd *cobra.Command, kind document.Kind, report any, show show) error {
	as := map[string]func(document.Kind, any) ([]byte, error){formatJSON: document.JSON, formatYAML: document.YAML}[o.format]
	if as != nil {
		b, err := as(kind, report)
		if err != nil {
			return fmt.Errorf("print the report: %w", err)
		}
		_, err = cmd.OutOrStdout().Write(b)
		return err
	}
	show(screen.New(cmd.OutOrStdout(), os.Getenv), o.format == formatWide)
	return nil
}
