{{- define "fairlead.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "fairlead.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "fairlead.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "fairlead.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* app.kubernetes.io/name is fixed: speakers find each other by it. */}}
{{- define "fairlead.selector" -}}
app.kubernetes.io/name: fairlead
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "fairlead.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "fairlead.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* One map out of a list of maps, of which a later one wins: a key that came twice would be refused by some, and lost by others. */}}
{{- define "fairlead.map" -}}
{{- $out := dict }}
{{- range . }}{{ range $key, $value := . }}{{ $_ := set $out $key $value }}{{ end }}{{ end }}
{{- with $out }}{{ toYaml . }}{{ end }}
{{- end }}

{{/* Where everything is. */}}
{{- define "fairlead.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{/*
The metadata of an object, from a dict: root, name, namespace (default: the installation's), cluster (true: of no namespace), component
(may be missing), labels and annotations.
*/}}
{{- define "fairlead.metadata" -}}
name: {{ .name }}
{{- if not .cluster }}
namespace: {{ .namespace | default (include "fairlead.namespace" .root) }}
{{- end }}
{{- $own := include "fairlead.labels" .root | fromYaml }}
{{- with .component }}{{ $_ := set $own "app.kubernetes.io/component" . }}{{ end }}
labels:
  {{- include "fairlead.map" (list $own .root.Values.commonLabels .labels) | nindent 2 }}
{{- with include "fairlead.map" (list .root.Values.commonAnnotations .annotations) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The metadata of a pod, from a dict: root, component, labels and annotations, ownAnnotations (the chart's). */}}
{{- define "fairlead.podMetadata" -}}
{{- $own := include "fairlead.selector" .root | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/component" .component }}
labels:
  {{- include "fairlead.map" (list .root.Values.commonLabels .labels $own) | nindent 2 }}
{{- with include "fairlead.map" (list .root.Values.commonAnnotations .ownAnnotations .annotations) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "fairlead.controller.serviceAccount" -}}
{{- $s := .Values.controller.serviceAccount }}
{{- $s.create | ternary (default (printf "%s-controller" (include "fairlead.fullname" .)) $s.name) (default "default" $s.name) }}
{{- end }}

{{- define "fairlead.speaker.serviceAccount" -}}
{{- $s := .Values.speaker.serviceAccount }}
{{- $s.create | ternary (default (printf "%s-speaker" (include "fairlead.fullname" .)) $s.name) (default "default" $s.name) }}
{{- end }}

{{- define "fairlead.memberlistSecret" -}}
{{- .Values.speaker.memberlist.secretName | default "memberlist" }}
{{- end }}

{{- define "fairlead.l2Backend" -}}
{{- if .Values.l2Backend }}
{{- .Values.l2Backend }}
{{- else if and .Values.speaker.enabled (has .Values.backend (list "auto" "calico")) }}
{{- "speaker" }}
{{- end }}
{{- end }}

{{/* The backends that the controller may come to use, as a list in JSON. */}}
{{- define "fairlead.backends" -}}
{{- $asked := list (.Values.bgpBackend | default .Values.backend) (include "fairlead.l2Backend" . | default .Values.backend) }}
{{- $out := .Values.rbac.extraBackends }}
{{- range $asked }}
{{- if eq . "auto" }}{{ $out = concat $out (list "calico" "cilium") }}{{ else }}{{ $out = append $out . }}{{ end }}
{{- end }}
{{- $out | uniq | toJson }}
{{- end }}

{{/* The classes for --lb-class. */}}
{{- define "fairlead.classes" -}}
{{- if kindIs "slice" .Values.loadBalancerClass }}{{ join "," .Values.loadBalancerClass }}{{ else }}{{ .Values.loadBalancerClass }}{{ end }}
{{- end }}

{{/*
The name of an image, from a dict: root, image. A registry takes the place of the one that the repository begins with, which is one if
it has a dot or a colon, or is localhost. A digest takes the place of the tag; without either, it is the digest of the release's image.
*/}}
{{- define "fairlead.image" -}}
{{- $repository := .image.repository }}
{{- with dig "imageRegistry" "" (.root.Values.global | default dict) | default .image.registry }}
{{- $first := first (splitList "/" $repository) }}
{{- if and (contains "/" $repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) }}
{{- $repository = trimPrefix (printf "%s/" $first) $repository }}
{{- end }}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}
{{- end }}
{{- $digest := .image.digest }}
{{- if not (or $digest .image.tag) }}
{{- $digest = index .root.Chart.Annotations "fairlead.io/image-digest" }}
{{- end }}
{{- if $digest }}
{{- printf "%s@%s" $repository $digest }}
{{- else }}
{{- printf "%s:%s" $repository (.image.tag | default (printf "v%s" .root.Chart.AppVersion)) }}
{{- end }}
{{- end }}

{{- define "fairlead.controller.image" -}}
{{- include "fairlead.image" (dict "root" . "image" .Values.controller.image) }}
{{- end }}

{{/* The controller's, but for what is named. A digest is that of one repository and one tag, and a registry goes with its repository. */}}
{{- define "fairlead.speaker.image" -}}
{{- $ours := .Values.speaker.image }}
{{- $image := deepCopy .Values.controller.image }}
{{- if $ours.repository }}{{ $_ := set $image "registry" "" }}{{ end }}
{{- if or $ours.repository $ours.tag }}{{ $_ := set $image "digest" "" }}{{ end }}
{{- range $key := list "registry" "repository" "tag" "digest" }}
{{- with get $ours $key }}{{ $_ := set $image $key . }}{{ end }}
{{- end }}
{{- include "fairlead.image" (dict "root" . "image" $image) }}
{{- end }}

{{/* The images that pods are to run and that are nowhere published, one a line: those of a chart which is of no release. */}}
{{- define "fairlead.unpublished" -}}
{{- $images := list (include "fairlead.controller.image" .) }}
{{- if .Values.speaker.enabled }}{{ $images = append $images (include "fairlead.speaker.image" .) }}{{ end }}
{{- $out := list }}
{{- range $images | uniq }}
{{- if and (hasSuffix "-devel" $.Chart.AppVersion) (hasSuffix (printf ":v%s" $.Chart.AppVersion) .) }}{{ $out = append $out . }}{{ end }}
{{- end }}
{{- join "\n" $out }}
{{- end }}

{{/* A duration such as 1m30s in whole seconds, rounded up. */}}
{{- define "fairlead.seconds" -}}
{{- $begin := toDate "2006-01-02" "1970-01-02" }}
{{- sub ($begin | mustDateModify (printf "+%s" .) | mustDateModify "+999ms" | unixEpoch) ($begin | unixEpoch) }}
{{- end }}

{{/* How long a speaker lets routers prefer other nodes when it stops, in seconds: the last one named counts. */}}
{{- define "fairlead.speaker.shutdownWait" -}}
{{- $wait := .Values.speaker.bgpShutdownWait }}
{{- $named := false }}
{{- range .Values.speaker.extraArgs }}
{{- if $named }}{{ $wait = . }}{{ end }}
{{- $named = eq . "--bgp-shutdown-wait" }}
{{- if hasPrefix "--bgp-shutdown-wait=" . }}{{ $wait = trimPrefix "--bgp-shutdown-wait=" . }}{{ end }}
{{- end }}
{{- include "fairlead.seconds" $wait }}
{{- end }}

{{/* How long a speaker may take to stop: that, and time to withdraw everything. */}}
{{- define "fairlead.speaker.gracePeriod" -}}
{{- .Values.speaker.terminationGracePeriodSeconds | default (add (include "fairlead.speaker.shutdownWait" .) 25) }}
{{- end }}

{{- define "fairlead.probe" -}}
{{- omit . "enabled" | toYaml }}
{{- end }}

{{/* The securityContext of a container, from a dict: values (the user's), add (capabilities without which it does not work). */}}
{{- define "fairlead.container.securityContext" -}}
{{- $own := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true }}
{{- range $key, $value := .values }}{{ $_ := set $own $key $value }}{{ end }}
{{- $capabilities := merge (dict) (dig "capabilities" dict (.values | default dict) | default dict) (dict "drop" (list "ALL")) }}
{{- with .add }}{{ $_ := set $capabilities "add" (concat . ($capabilities.add | default list) | uniq) }}{{ end }}
{{- $_ := set $own "capabilities" $capabilities }}
{{- toYaml $own }}
{{- end }}

{{- define "fairlead.scrape" -}}
{{- if and .Values.prometheus.scrapeAnnotations .Values.prometheus.metricsPort }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .Values.prometheus.metricsPort | quote }}
{{- if .Values.prometheus.secureMetrics }}
prometheus.io/scheme: https
{{- end }}
{{- end }}
{{- end }}
