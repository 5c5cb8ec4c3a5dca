{{/*
What the pods of both components have in common, from a dict: root, component (its values). Without enableServiceLinks, a Service's
variables could be taken for flags.
*/}}
{{- define "fairlead.pod" -}}
enableServiceLinks: false
{{- with concat (dig "imagePullSecrets" list (.root.Values.global | default dict)) (.root.Values.imagePullSecrets | default list) | uniq }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
nodeSelector:
  {{- include "fairlead.map" (list (dict "kubernetes.io/os" "linux") .component.nodeSelector) | nindent 2 }}
{{- range $key := list "affinity" "hostAliases" "dnsConfig" }}
{{- with get $.component $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- range $key := list "dnsPolicy" "priorityClassName" "runtimeClassName" }}
{{- with get $.component $key }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
{{- $tolerations := .component.tolerations | default list }}
{{- if .component.tolerateMaster }}
{{- range list "node-role.kubernetes.io/master" "node-role.kubernetes.io/control-plane" }}
{{- $tolerations = append $tolerations (dict "key" . "effect" "NoSchedule" "operator" "Exists") }}
{{- end }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Defaults are taken all or none: a request of ours above a limit of the user's would be refused. */}}
{{- define "fairlead.controller.resources" -}}
{{- .Values.controller.resources | default (dict "requests" (dict "cpu" "10m" "memory" "128Mi")) | toYaml }}
{{- end }}

{{/* The environment of a container, from a dict: own (paths of fields of the pod, by name), extra. */}}
{{- define "fairlead.env" -}}
{{- range $name, $path := .own }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $path }}
{{- end }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A Secret with the certificate of /metrics, as a volume, from a dict: root, component. */}}
{{- define "fairlead.metrics.secret" -}}
{{- if and .root.Values.prometheus.metricsPort .root.Values.prometheus.secureMetrics }}
{{- dig (printf "%sMetricsTLSSecret" .component) "" (.root.Values.tls | default dict) }}
{{- end }}
{{- end }}

{{- define "fairlead.metrics.volume" -}}
{{- with include "fairlead.metrics.secret" . }}
- name: metrics-tls
  secret:
    secretName: {{ . }}
{{- end }}
{{- end }}

{{- define "fairlead.metrics.mount" -}}
{{- if include "fairlead.metrics.secret" . }}
- name: metrics-tls
  mountPath: /etc/fairlead/metrics-tls
  readOnly: true
{{- end }}
{{- end }}

{{- define "fairlead.metrics.args" -}}
{{- $p := .root.Values.prometheus }}
- --metrics-bind-address={{ if $p.metricsPort }}:{{ $p.metricsPort }}{{ else }}0{{ end }}
{{- if and $p.metricsPort $p.secureMetrics }}
- --metrics-secure=true
{{- $tls := .root.Values.tls | default dict }}
{{- range $key, $flag := dict "cipherSuites" "cipher-suites" "curvePreferences" "curve-preferences" "minVersion" "min-version" }}
{{- with get $tls $key }}
- --metrics-tls-{{ $flag }}={{ . }}
{{- end }}
{{- end }}
{{- if include "fairlead.metrics.secret" . }}
- --metrics-cert-dir=/etc/fairlead/metrics-tls
{{- end }}
{{- end }}
{{- end }}
