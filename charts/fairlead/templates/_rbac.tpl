{{/*
A role and its binding, from a dict: root, name (after the release's), namespace (empty for the whole cluster), component, account,
accountNamespace, rules.
*/}}
{{- define "fairlead.role" -}}
{{- $kind := ternary "Role" "ClusterRole" (ne (default "" .namespace) "") }}
{{- $name := printf "%s-%s" (include "fairlead.fullname" .root) .name }}
{{- if eq $kind "ClusterRole" }}{{ $name = printf "%s:%s" (include "fairlead.fullname" .root) .name }}{{ end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "fairlead.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "fairlead.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ default .root.Release.Namespace .accountNamespace }}
{{- end }}
