package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/internal/tool/survey"
)

// change is a change of an installation: values of the chart where Helm has installed it, else flags of the controller.
type change struct {
	values string   // as helm upgrade takes them
	flags  []string // --name=value
	note   string   // what else could be chosen: after a #
}

// command returns the command line that makes a change, or the installation so where there is none; beside a MetalLB that is the
// change-over. It is empty where nothing is to be seen that could be changed.
func (f *Facts) command(c change) string {
	line := ""
	switch d := f.deployment(); {
	case f.absent() && len(f.metallb(f.Namespace)) > 0:
		return f.changeOver(f.Namespace)
	case f.absent():
		line = fmt.Sprintf("helm install fairlead charts/fairlead -n %s --create-namespace --set controller.image.repository=REGISTRY/fairlead,controller.image.tag=TAG %s", f.Namespace, c.values)
	case f.Controller.Release != "":
		line = fmt.Sprintf("helm upgrade %s charts/fairlead -n %s --reset-then-reuse-values %s", f.Controller.Release, f.Namespace, c.values)
	case d == nil || len(c.flags) == 0:
		return ""
	default:
		i := max(0, slices.IndexFunc(d.Spec.Template.Spec.Containers, func(x container) bool { return x.Name == "controller" }))
		var add []string
		if len(d.Spec.Template.Spec.Containers[i].Args) == 0 {
			add = append(add, fmt.Sprintf(`{"op":"add","path":"/spec/template/spec/containers/%d/args","value":[]}`, i))
		}
		for _, flag := range c.flags { // of a flag that is given twice, the last one counts
			add = append(add, fmt.Sprintf(`{"op":"add","path":"/spec/template/spec/containers/%d/args/-","value":%q}`, i, flag))
		}
		line = fmt.Sprintf("kubectl -n %s patch deployment %s --type json -p '[%s]'", f.Namespace, d.Name, strings.Join(add, ","))
	}
	if line = strings.TrimSpace(line); c.note != "" {
		line += "   # " + f.advice(c.note)
	}
	return line
}

// advice is Advice; who is to install the product does it by the chart.
func (f *Facts) advice(text string) string {
	if f.absent() {
		return (&survey.Survey{Controller: survey.Controller{Release: "fairlead"}}).Advice(text)
	}
	return f.Advice(text)
}

// Values and flags that several checks ask for.
var (
	install       = change{}
	takeOwnership = change{values: "--take-ownership"}
	enableWebhook = change{values: "--set controller.webhookMode=enabled", flags: []string{"--webhook=enabled"}}
)

// enableSpeakers is the command that has speakers run.
func (f *Facts) enableSpeakers() string {
	if f.absent() || f.Controller.Release != "" {
		return f.command(change{values: "--set speaker.enabled=true"})
	}
	return "make manifests && kubectl apply -f dist/manifests/speaker.yaml"
}

// changeOver is the command that begins, or goes on with, the change-over from a MetalLB.
func (f *Facts) changeOver(namespace string) string {
	if namespace == survey.DefaultNamespace {
		return "kubectl fairlead migrate from-metallb"
	}
	return "kubectl fairlead migrate from-metallb --namespace " + namespace
}
