{{/*
A role and its binding, from a dict: root, name (after the release's), namespace (empty for the whole cluster), component, account,
accountNamespace, rules, labels. Without an account there is no binding.
*/}}
{{- define "fairlead.role" -}}
{{- $kind := ternary "Role" "ClusterRole" (ne (default "" .namespace) "") }}
{{- $name := printf "%s-%s" (include "fairlead.fullname" .root) .name }}
{{- if eq $kind "ClusterRole" }}{{ $name = printf "%s:%s" (include "fairlead.fullname" .root) .name }}{{ end }}
{{- $metadata := dict "root" .root "name" $name "namespace" .namespace "cluster" (eq $kind "ClusterRole") "component" .component }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  {{- include "fairlead.metadata" (merge (dict "labels" .labels) $metadata) | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
{{- if .account }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  {{- include "fairlead.metadata" $metadata | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ default (include "fairlead.namespace" .root) .accountNamespace }}
{{- end }}
{{- end }}

{{/* What it takes to ask who may read /metrics. */}}
{{- define "fairlead.metrics.rules" -}}
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}
