// This module builds the script and the style sheet of the dashboard.
module github.com/fairlead/fairlead/tools/web

go 1.26.0

require github.com/evanw/esbuild v0.28.2

require golang.org/x/sys v0.0.0-20220715151400-c0bba94af5f8 // indirect
