{{/*
What a pod that runs a command of the controller once is made of, from a dict: root, name (of the container), args. It has what the
controller needs to reach the API server.
*/}}
{{- define "fairlead.once" -}}
{{- $c := .root.Values.controller }}
{{- include "fairlead.pod" (dict "root" .root "component" $c) }}
serviceAccountName: {{ include "fairlead.controller.serviceAccount" .root }}
restartPolicy: Never
{{- with $c.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .name }}
    image: {{ include "fairlead.controller.image" .root }}
    imagePullPolicy: {{ $c.image.pullPolicy }}
    command: [/controller]
    args:
      {{- toYaml .args | nindent 6 }}
    env:
      {{- include "fairlead.env" (dict "own" (dict "FAIRLEAD_NAMESPACE" "metadata.namespace") "extra" $c.extraEnv) | trim | nindent 6 }}
    resources:
      {{- include "fairlead.controller.resources" .root | nindent 6 }}
    securityContext:
      {{- include "fairlead.container.securityContext" (dict "values" $c.containerSecurityContext) | nindent 6 }}
    {{- with $c.extraVolumeMounts }}
    volumeMounts:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- with $c.extraVolumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
