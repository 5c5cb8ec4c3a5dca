package localcluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// confdFolder is where Calico's templates are rendered in calico-node's image.
const confdFolder = "/etc/calico/confd/config/"

// svScript stands in for runit's "sv hup bird|bird6".
const svScript = `#!/bin/sh
kill -HUP "$(cat "DIR/$2.pid")"
`

// LayCalico lays out in a folder what Calico's confd needs on a node: its templates, which render into the folder config, and in bin the
// program by which it has BIRD read its configuration again.
func LayCalico(dir, templates string) error {
	if err := os.CopyFS(dir, os.DirFS(templates)); err != nil {
		return fmt.Errorf("confd's templates: %w", err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "config"), 0o755), os.Mkdir(filepath.Join(dir, "bin"), 0o755)); err != nil {
		return err
	}
	all, err := filepath.Glob(filepath.Join(dir, "conf.d", "*.toml"))
	if err != nil {
		return err
	}
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(b), confdFolder, filepath.Join(dir, "config")+"/")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "bin", "sv"), []byte(strings.ReplaceAll(svScript, "DIR", dir)), 0o755) //nolint:gosec // it is a program
}

// ConfdEnv returns the environment of confd on a node, whose folder LayCalico has laid out.
func ConfdEnv(node, dir, kubeconfig, path string) []string {
	return []string{
		"NODENAME=" + node, "CALICO_K8S_NODE_REF=" + node, "DATASTORE_TYPE=kubernetes", "KUBECONFIG=" + kubeconfig, "BGP_LOGSEVERITYSCREEN=info",
		"NAMESPACE=kube-system", "CALICO_ENDPOINT_STATUS_PATH_PREFIX=" + dir, "PATH=" + filepath.Join(dir, "bin") + ":" + path,
	}
}

// BIRDArgs returns the arguments of a BIRD of that name, "bird" or "bird6", in such a folder.
func BIRDArgs(name, dir string) []string {
	return []string{"-R", "-f", "-c", filepath.Join(dir, "config", name+".cfg"), "-s", filepath.Join(dir, name+".ctl"), "-P",
		filepath.Join(dir, name+".pid")}
}
