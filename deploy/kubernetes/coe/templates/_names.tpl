{{- define "coe.name" -}}
{{- if contains "coe" .Release.Name }}{{ .Release.Name | trunc 30 | trimSuffix "-" }}{{ else }}{{ printf "%s-coe" .Release.Name | trunc 30 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "coe.part" -}}
app.kubernetes.io/name: coe
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "coe.selector" -}}
{{ include "coe.part" . }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "coe.redisSelector" -}}
{{ include "coe.part" . }}
app.kubernetes.io/component: redis
{{- end }}

{{- define "coe.vllmSelector" -}}
{{ include "coe.part" . }}
app.kubernetes.io/component: vllm
{{- end }}

{{- define "coe.labels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "coe.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* Everywhere but the addresses at which clouds tell a machine who it is. */ -}}
{{- define "coe.names" -}}
- ports:                 # names
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}
