# 'make help' lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := $(CURDIR)/bin
# A user's own kube-apiserver and etcd are used if KUBEBUILDER_ASSETS is set.
ASSETS := $(or $(KUBEBUILDER_ASSETS),$(BIN))
export KUBEBUILDER_ASSETS := $(ASSETS)
export CGO_ENABLED ?= 0

KUBERNETES_VERSION := v1.36.3
KUBERNETES_LDFLAGS := -s -w \
	-X k8s.io/component-base/version.gitVersion=$(KUBERNETES_VERSION) \
	-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36
HELM_LDFLAGS := -s -w -X helm.sh/helm/v3/internal/version.version=v3.22.0 \
	-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36
CALICO_CRDS := github.com/projectcalico/calico@v1.11.0-cni-plugin.0.20250813170300-a0db560f0520

CILIUM_CRDS := github.com/cilium/cilium@v1.20.1

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Released binaries are fetched where the network has them; else they are built, which takes longer.
.PHONY: released
released:
	@if [ ! -e $(ASSETS)/kube-apiserver ] || [ ! -e $(ASSETS)/etcd ]; then \
		echo "looking for released binaries of kube-apiserver and etcd"; \
		if dir="$$($$(command -v timeout >/dev/null && echo timeout 120) go -C tools/envtest tool setup-envtest use -p path \
			--bin-dir $(BIN)/released $(if $(ENVTEST_INDEX),--index $(ENVTEST_INDEX)) $(basename $(KUBERNETES_VERSION:v%=%)).x)"; then \
			mkdir -p $(ASSETS); cp "$$dir"/kube-apiserver "$$dir"/etcd $(ASSETS)/; touch $(ASSETS)/kube-apiserver $(ASSETS)/etcd; \
			echo "they are in $(ASSETS)"; \
		else echo "there are none to be had: they are built, once"; fi; \
	fi

.PHONY: kubectl
kubectl: $(BIN)/kubectl ## build kubectl

.PHONY: demo
demo: released build ## show everything on a cluster of its own; DEMO_ARGS=--once runs through and ends
	@$(MAKE) -s --no-print-directory $(ASSETS)/kube-apiserver $(ASSETS)/etcd $(BIN)/$(if $(findstring cilium,$(DEMO_ARGS)),cilium,calico)-crds
	@$(if $(findstring cluster-api,$(DEMO_ARGS)),$(MAKE) -s --no-print-directory $(BIN)/ipam-provider $(BIN)/ipam-crds)
	@$(BIN)/kubectl-fairlead demo $(DEMO_ARGS)

.PHONY: build
build: ## build the commands into bin/
	@$(call still_building,the commands); go build -trimpath -o $(BIN)/ ./cmd/...

ON_NETWORKS := integration/(layer2|bgp|bfd|cni/.*|testbed/netlab)$$
# What needs neither an API server nor networks.
UNIT = $$(go list ./... | grep -v /integration/)
# Go's race detector needs a C compiler; nothing else here does.
C_COMPILER = $(shell command -v $(firstword $(shell go env CC)))
.PHONY: test
test: tools ## run every test, those on a real API server included
ifneq ($(C_COMPILER),)
	CGO_ENABLED=1 go test -race -timeout 20m $(UNIT)
else
	@echo "there is no C compiler: tests run without the race detector"
	go test -timeout 20m $(UNIT)
endif
	@# These build and start the commands, of which Go's cache of test results knows nothing.
	go test -timeout 20m -count 1 $$(go list ./integration/... | grep -Ev '$(ON_NETWORKS)')
	@# These watch a network closely: one after the other, so that they do not slow each other down.
	go test -timeout 20m -count 1 -p 1 $$(go list ./integration/... | grep -E '$(ON_NETWORKS)')

	@# It builds everything again, for both architectures.
	go -C tools/release test -timeout 20m -count 1 ./...

.PHONY: test-cni
test-cni: tools ## run every scenario on the CNIs' own code and on the speakers (needs root); make test runs some of them
	FAIRLEAD_TEST_CNI=all go test -timeout 60m -count 1 -p 1 ./integration/cni/...

.PHONY: race
race: ## run the tests that need neither an API server nor networks under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race -timeout 30m $(UNIT)

.PHONY: check
check: generated lint web-check ## check formatting, generated files and style

.PHONY: lint
lint: ## gofmt, go mod tidy, go vet, staticcheck
	@unformatted="$$(gofmt -l $$(git ls-files '*.go'))"; \
	if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted"; exit 1; fi
	go mod tidy -diff
	go vet ./...
	go -C tools/release vet ./...
	go tool -modfile=tools/staticcheck/go.mod staticcheck ./...

.PHONY: plugin-check
plugin-check: ## fail if the plugin does not build for macOS and Windows
	GOOS=darwin go build -trimpath -o /dev/null ./cmd/kubectl-fairlead
	GOOS=windows go build -trimpath -o /dev/null ./cmd/kubectl-fairlead

.PHONY: generate
generate: $(BIN)/controller-gen ## write deepcopy code, CRDs and their reference from api/, and the README of the chart from its values
	$(BIN)/controller-gen object paths=./api/...
	$(BIN)/controller-gen crd:crdVersions=v1 paths=./api/... output:crd:dir=api/crds
	cp api/crds/*.yaml charts/fairlead/files/crds/
	go run ./internal/tool/reference/readme charts/fairlead
	@go -C tools/crdref tool crd-ref-docs --source-path $(CURDIR)/api --config config.yaml --renderer markdown --log-level ERROR --output-path $(CURDIR)/docs/reference/api.md

.PHONY: generated
generated: generate ## fail if a generated file is not up to date
	@changed="$$(git status --porcelain -- api charts docs/reference/api.md)"; \
	if [ -n "$$changed" ]; then echo "run 'make generate' and commit:"; echo "$$changed"; git diff -- api charts docs/reference/api.md | head -50; exit 1; fi

WEB := ../../internal/tool/dashboard
.PHONY: web
web: ## build the script and the style sheet of the dashboard, from internal/tool/dashboard/web and packages that are pinned
	go -C tools/web run . $(WEB)/web $(WEB)/static

.PHONY: web-check
web-check:
	@go -C tools/web run . -check $(WEB)/web $(WEB)/static

.PHONY: site
site: $(BIN)/hugo ## build a site from docs/ into dist/site
	@$(BIN)/hugo --source tools/site --destination $(CURDIR)/dist/site --cleanDestinationDir --panicOnWarning --noBuildLock --quiet
	@echo dist/site

.PHONY: pictures
pictures: build ## draw docs/pictures anew from a run of the demo (as root, the fail-over, too)
	@tools/pictures/record $(BIN)/kubectl-fairlead $(CURDIR)/docs/pictures

.PHONY: reference
reference: ## write docs/reference from flags, metrics, documents and values of the chart, and the fields of docs/delegation.md
	go test -count 1 -run Reference ./cmd/... ./internal/tool/reference ./integration/cni -update

VERSION ?= devel
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
IMAGE ?= ghcr.io/fairlead/fairlead:$(VERSION)
PLATFORM ?= linux/amd64
BUILDERS := docker podman buildah
# The first that is there and works: the docker of many machines has no daemon to speak to. BUILDER=... names another one, or gives it options.
BUILDER ?= $(firstword $(foreach b,$(BUILDERS),$(shell $(b) info >/dev/null 2>&1 && echo $(b))))
DIST := dist/$(subst /,_,$(PLATFORM))
COMMANDS := ./cmd/...

.PHONY: binaries
binaries: ## build static binaries for PLATFORM (linux/amd64) and VERSION into dist/
	GOOS=$(word 1,$(subst /, ,$(PLATFORM))) GOARCH=$(word 2,$(subst /, ,$(PLATFORM))) CGO_ENABLED=0 go build -trimpath -buildvcs=false \
		-ldflags '-s -w -X github.com/fairlead/fairlead/internal/process/cli.version=$(VERSION) -X github.com/fairlead/fairlead/internal/process/cli.commit=$(COMMIT)' -o $(DIST)/ $(COMMANDS)

.PHONY: builder
builder:
	@builder="$(firstword $(BUILDER))"; \
	if [ -z "$$builder" ]; then echo "no image can be built: none of $(BUILDERS) is there and answers to 'info'; install one, or name it by BUILDER" >&2; exit 1; fi; \
	if ! command -v "$$builder" >/dev/null; then echo "no image can be built: BUILDER $$builder is not there; take one of $(BUILDERS)" >&2; exit 1; fi

.PHONY: image
image: builder binaries ## build the image IMAGE for PLATFORM with BUILDER (docker, podman or buildah)
	$(BUILDER) build --platform $(PLATFORM) --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) --tag $(IMAGE) .

MANIFESTS ?= dist/manifests
CHART := charts/fairlead
HELM := $(BIN)/helm
.PHONY: manifests
manifests: $(HELM) ## write one YAML file for each backend, and a kustomization, into dist/manifests, for those without Helm
	@mkdir -p $(MANIFESTS)
	@for backend in auto calico cilium speaker none; do \
		level=restricted; values=backend=$$backend; \
		if [ $$backend = speaker ]; then level=privileged; values=$$values,speaker.enabled=true; fi; \
		{ printf 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: metallb-system\n  labels:\n    pod-security.kubernetes.io/enforce: %s\n' $$level; \
		$(HELM) template fairlead $(CHART) --namespace metallb-system --no-hooks --set $$values; } > $(MANIFESTS)/$$backend.yaml; \
		echo $(MANIFESTS)/$$backend.yaml; \
	done
	@printf '%s\n' '# Name one of the files here, and your image. Leave "namespace:" out: it would move Roles that belong to the namespace of the CNI.' \
		'apiVersion: kustomize.config.k8s.io/v1beta1' 'kind: Kustomization' 'resources:' '  - auto.yaml' 'images:' '  - name: ghcr.io/fairlead/fairlead' '    newName: registry.example/fairlead' \
		'    newTag: v1' > $(MANIFESTS)/kustomization.yaml
	@echo $(MANIFESTS)/kustomization.yaml

RELEASE := dist/release
.PHONY: release
release: $(HELM) ## write all files of the release VERSION (vX.Y.Z) into dist/release; RELEASE_ARGS=--dirty with changes that are not committed
	@go -C tools/release run . -version '$(filter-out devel,$(VERSION))' -source $(CURDIR) -out $(abspath $(RELEASE)) -helm $(abspath $(HELM)) $(RELEASE_ARGS)

.PHONY: bench
bench: ## measure the address engine, and how it is decided who announces
	go test -run '^$$' -bench . -benchmem ./allocator ./internal/announce

.PHONY: bench-controller
bench-controller: tools ## measure the controller on an API server; BENCH_ARGS=--help tells more
	@go run ./integration/bench/controller $(BENCH_ARGS)

BENCHTIME ?= 30x
.PHONY: bench-l2
bench-l2: tools ## measure the speakers on a network of namespaces (needs root); BENCHTIME=30x is the number of rounds
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) -timeout 60m ./integration/bench/layer2

.PHONY: bench-bgp
bench-bgp: tools ## measure the speakers' BGP with FRR and BIRD on a network of namespaces (needs root), beside BIRD
	go test -run '^$$' -bench Service -benchtime $(BENCHTIME) -timeout 60m ./integration/bench/bgp
	go test -run '^$$' -bench NodeLoss -benchtime 10x -timeout 60m ./integration/bench/bgp
	go test -run '^$$' -bench Prefixes -benchtime 3x -timeout 60m ./integration/bench/bgp
	go test -run '^$$' -bench Restart -benchtime 3x -timeout 60m ./integration/bench/bgp
	go test -run '^$$' -bench Create -benchtime 1x -timeout 60m ./integration/bench/bgp
	go test -run '^$$' -bench Hostile -benchtime 1x -timeout 60m ./integration/bench/bgp
	go test -run '^$$' -bench . -benchtime 1x -timeout 60m ./integration/bench/status

.PHONY: bench-allocators
bench-allocators: tools ## measure Services whose addresses a provider gives, beside what the provider needs itself
	go test -run '^$$' -bench . -benchtime 1x -timeout 30m ./integration/bench/allocators

.PHONY: bench-tool
bench-tool: tools ## measure each command of kubectl fairlead with 10,000 Services and 500 nodes
	go test -run '^$$' -bench . -benchtime 3x -timeout 30m ./integration/bench/tool

CHAOS_ARGS ?= -chaos.operations 1000 -chaos.kills 50
.PHONY: chaos
chaos: tools ## hurt the controller in every way for five minutes; FAIRLEAD_TEST_SEED repeats a run
	go test ./integration/chaos -run TestChaos -count 1 -timeout 60m -v $(CHAOS_ARGS)

FUZZTIME ?= 30s
.PHONY: fuzz
fuzz: ## fuzz the engine, the range parser and what comes from the wire for FUZZTIME each
	go test -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZTIME) ./internal/config/ranges
	go test -run '^$$' -fuzz FuzzHistory -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./allocator
	go test -run '^$$' -fuzz FuzzARP -fuzztime $(FUZZTIME) ./backends/layer2
	go test -run '^$$' -fuzz FuzzNDP -fuzztime $(FUZZTIME) ./backends/layer2
	go test -run '^$$' -fuzz FuzzPacket -fuzztime $(FUZZTIME) ./backends/bgp/bfd
	go test -run '^$$' -fuzz FuzzOpen -fuzztime $(FUZZTIME) ./backends/bgp
	go test -run '^$$' -fuzz FuzzReceive -fuzztime $(FUZZTIME) ./backends/bgp
	go test -run '^$$' -fuzz FuzzConvert -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./internal/tool/convert
	go test -run '^$$' -fuzz FuzzPool -fuzztime $(FUZZTIME) ./allocator/clusterapi
	go test -run '^$$' -fuzz FuzzDecode -fuzztime $(FUZZTIME) ./internal/speaker/membership

.PHONY: tools
tools: $(ASSETS)/kube-apiserver $(ASSETS)/etcd $(BIN)/kubectl $(BIN)/kube-proxy $(BIN)/helm $(BIN)/calico-crds $(BIN)/cilium-crds $(BIN)/confd $(BIN)/confd-templates $(BIN)/bird1 $(BIN)/cilium-lab $(BIN)/ipam-provider $(BIN)/ipam-crds $(BIN)/hugo ## build what tests and demo need

# Each binary is built again only when the module that pins it changes.
define build_tool
	@mkdir -p $(@D)
	@echo "building $(@F) (first time only$(if $(1),; $(1)))"
	@$(call still_building,$(@F)); go -C tools/$(2) build -trimpath -ldflags '$(4)' -o $(abspath $@) $(3)
	@touch $@
endef

# Says every 20 s that it is still at work, until the shell ends.
define still_building
{ seconds=0; while sleep 20 >/dev/null 2>&1; do seconds=$$((seconds + 20)); echo "  still building $(1), $${seconds} s"; done; } & trap "kill $$! 2>/dev/null || true" EXIT
endef

$(BIN)/kube-apiserver: tools/kubernetes/go.mod
	$(call build_tool,about three minutes on two cores,kubernetes,k8s.io/kubernetes/cmd/kube-apiserver,$(KUBERNETES_LDFLAGS))

$(BIN)/kubectl: tools/kubernetes/go.mod
	$(call build_tool,about a minute,kubernetes,k8s.io/kubernetes/cmd/kubectl,$(KUBERNETES_LDFLAGS))

$(BIN)/kube-proxy: tools/kubernetes/go.mod
	$(call build_tool,about a minute,kubernetes,k8s.io/kubernetes/cmd/kube-proxy,$(KUBERNETES_LDFLAGS))

$(BIN)/etcd: tools/etcd/go.mod
	$(call build_tool,,etcd,go.etcd.io/etcd/server/v3,-s -w)

$(BIN)/controller-gen: tools/controllergen/go.mod
	$(call build_tool,,controllergen,sigs.k8s.io/controller-tools/cmd/controller-gen,-s -w)

$(BIN)/helm: tools/helm/go.mod
	$(call build_tool,about two minutes,helm,helm.sh/helm/v3/cmd/helm,$(HELM_LDFLAGS))

$(BIN)/hugo: tools/site/go.mod
	$(call build_tool,about three minutes,site,github.com/gohugoio/hugo,-s -w)

# It is the repository's own program, so it is built again when that changes, too.
$(BIN)/cilium-lab: tools/cilium/go.mod $(wildcard tools/cilium/*.go)
	$(call build_tool,about 9 minutes on two cores,cilium,.,-s -w)

$(BIN)/calico-crds: Makefile
	@echo "fetching Calico's CRDs"
	@mkdir -p $(@D)
	@dir="$$(cd tools && go mod download -json $(CALICO_CRDS) | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p')"; \
	rm -rf $@; mkdir $@; cp "$$dir"/libcalico-go/config/crd/*.yaml $@/; chmod -R u+w $@

$(BIN)/confd: tools/calico/go.mod
	$(call build_tool,about three minutes,calico,github.com/projectcalico/calico/confd,-s -w)

$(BIN)/confd-templates: tools/calico/go.mod
	@echo "fetching the templates of Calico's confd"
	@mkdir -p $(@D)
	@dir="$$(cd tools && go mod download -json $(CALICO_CRDS) | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p')"; \
	rm -rf $@; mkdir $@; cp -r "$$dir"/confd/etc/calico/confd/{conf.d,templates} $@/; chmod -R u+w $@; touch $@

# Calico's templates are for BIRD 1.6. Debian's package of it cannot be installed beside bird2, so it is only unpacked.
$(BIN)/bird1: Makefile
	@echo "fetching BIRD 1.6"
	@mkdir -p $(@D)
	@rm -rf $@ $@.tmp; mkdir $@.tmp; \
	if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then \
		echo "BIRD 1.6 is missing: put bird, bird6, birdc and birdc6 of Debian's package bird (1.6) into $@; the tests of Calico's own control plane cannot run" >&2; \
		rm -rf $@.tmp; exit 0; \
	fi; \
	if ! (cd $@.tmp && apt-get -qq download bird) >$@.tmp/log 2>&1; then \
		if [ "$$(id -u)" = 0 ]; then apt-get -qq update >>$@.tmp/log 2>&1 || true; fi; \
		if ! (cd $@.tmp && apt-get -qq download bird) >>$@.tmp/log 2>&1; then \
			cat $@.tmp/log >&2; \
			echo "BIRD 1.6 is missing: Debian's package bird cannot be downloaded$$([ "$$(id -u)" = 0 ] || echo "; run 'apt-get update' as root first")" >&2; \
			rm -rf $@.tmp; exit $$([ "$$(id -u)" = 0 ] && echo 1 || echo 0); \
		fi; \
	fi; \
	dpkg-deb -x $@.tmp/bird_*.deb $@.tmp; mkdir $@; cp $@.tmp/usr/sbin/{bird,bird6,birdc,birdc6} $@/; rm -rf $@.tmp

$(BIN)/ipam-provider: tools/ipam/go.mod
	$(call build_tool,about two minutes,ipam,sigs.k8s.io/cluster-api-ipam-provider-in-cluster,-s -w)

# The kinds of Cluster API's IPAM contract, of the provider's pools, and Cluster, which the provider watches.
$(BIN)/ipam-crds: tools/ipam/go.mod
	@echo "fetching the CRDs of Cluster API's IPAM contract"
	@mkdir -p $(@D)
	@dir() { go -C tools/ipam list -m -f '{{.Dir}}' "$$1"; }; go -C tools/ipam mod download sigs.k8s.io/cluster-api sigs.k8s.io/cluster-api-ipam-provider-in-cluster; \
	rm -rf $@; mkdir $@; cp "$$(dir sigs.k8s.io/cluster-api)"/config/crd/bases/{ipam.cluster.x-k8s.io_*,cluster.x-k8s.io_clusters}.yaml \
		"$$(dir sigs.k8s.io/cluster-api-ipam-provider-in-cluster)"/config/crd/bases/*.yaml $@/; chmod -R u+w $@; touch $@

$(BIN)/cilium-crds: Makefile
	@echo "fetching Cilium's CRDs"
	@mkdir -p $(@D)
	@dir="$$(cd tools && go mod download -json $(CILIUM_CRDS) | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p')"; \
	rm -rf $@; mkdir $@; cp "$$dir"/pkg/k8s/apis/cilium.io/client/crds/v2*/*.yaml $@/; chmod -R u+w $@

.PHONY: clean
clean: ## remove bin/
	rm -rf $(BIN)
