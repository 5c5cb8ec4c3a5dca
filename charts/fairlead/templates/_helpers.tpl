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
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "fairlead.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "fairlead.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
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

{{- define "fairlead.image" -}}
{{- printf "%s:%s" .image.repository (.image.tag | default (printf "v%s" .root.Chart.AppVersion)) }}
{{- end }}

{{- define "fairlead.probe" -}}
{{- omit . "enabled" | toYaml }}
{{- end }}

{{- define "fairlead.container.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "fairlead.scrape" -}}
{{- if and .Values.prometheus.scrapeAnnotations .Values.prometheus.metricsPort }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .Values.prometheus.metricsPort | quote }}
{{- end }}
{{- end }}
