{{/* What the pods of both components have in common. Without enableServiceLinks, a Service's variables could be taken for flags. */}}
{{- define "fairlead.pod" -}}
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .component.nodeSelector }}{{ toYaml . | nindent 2 }}{{ end }}
{{- with .component.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .component.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- $tolerations := .component.tolerations }}
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
