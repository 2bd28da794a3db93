{{/* The image, by its digest if there is one. */}}
{{- define "certpurge.image" -}}
{{- with .Values.image -}}
image: {{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- with .pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end -}}
{{- end }}

{{/* Labels of an object, or of a pod: dict "name". */}}
{{- define "certpurge.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: certpurge
{{- end }}

{{/* What every pod has, Redis's too: dict "root" "user". */}}
{{- define "certpurge.restricted" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.podSpec }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "certpurge.restrictedContainer" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Settings and secrets of a program: dict "root" "program" (worker or enqueuer) "jwt" (true for the server) "webhook" (true for
what tells others). */}}
{{- define "certpurge.volumes" -}}
- name: settings
  configMap: {name: certpurge-{{ .program }}}
- name: secrets
  secret:
    secretName: {{ .root.Values.secrets.running }}
    defaultMode: 0440
    items:
      - {key: mysql-dsn-{{ .program }}, path: mysql-dsn}
      - {key: redis-url-{{ .program }}, path: redis-url}
      {{- if .jwt }}
      - {key: jwt-secret, path: jwt-secret}
      {{- end }}
      {{- if .webhook }}
      - {key: notify-secret, path: notify-secret}
      {{- end }}
{{- end }}

{{- define "certpurge.mounts" -}}
- {name: settings, mountPath: /etc/certpurge, readOnly: true}
- {name: secrets, mountPath: /run/secrets/certpurge, readOnly: true}
{{- end }}

{{/* Settings are read at the start: a change makes new pods. */}}
{{- define "certpurge.checksum" -}}
checksum/settings: {{ get .root.Values.settings .program | sha256sum }}
{{- end }}

{{- define "certpurge.probes" -}}
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  {{- toYaml .Values.probes.readiness | nindent 2 }}
livenessProbe:
  httpGet: {path: /livez, port: probes}
  {{- toYaml .Values.probes.liveness | nindent 2 }}
{{- end }}

{{/* A program that runs all the time: dict "root" "name" "container" "program" "command" "env" "http" "values" "scaled" (an autoscaler
decides how many). */}}
{{- define "certpurge.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels: {{- include "certpurge.labels" . | nindent 4 }}
spec:
  {{- if not .scaled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  selector:
    matchLabels: {app.kubernetes.io/name: {{ .name }}}
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels: {{- include "certpurge.labels" . | nindent 8 }}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "8083"
        {{- include "certpurge.checksum" . | nindent 8 }}
    spec:
      serviceAccountName: certpurge-{{ .program }}
      # Longer than queue.drain_timeout and serve.drain_timeout.
      terminationGracePeriodSeconds: 40
      {{- include "certpurge.restricted" (dict "root" .root "user" 65532) | nindent 6 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {matchLabels: {app.kubernetes.io/name: {{ .name }}}}
      containers:
        - name: {{ .container }}
          {{- include "certpurge.image" .root | nindent 10 }}
          command: {{ toJson .command }}
          {{- with .env }}
          env: {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            {{- if .http }}
            - {name: http, containerPort: 8080}
            {{- end }}
            - {name: probes, containerPort: 8083}
          {{- if .http }}
          lifecycle:
            # Until no client sends to it any more.
            preStop: {sleep: {seconds: 5}}
          {{- end }}
          {{- include "certpurge.probes" .root | nindent 10 }}
          volumeMounts: {{- include "certpurge.mounts" . | nindent 12 }}
          resources: {{- toYaml .values.resources | nindent 12 }}
          {{- include "certpurge.restrictedContainer" . | nindent 10 }}
      volumes: {{- include "certpurge.volumes" (dict "root" .root "program" .program "jwt" .http
        "webhook" (and .root.Values.webhook.enabled (eq .program "enqueuer"))) | nindent 8 }}
{{- end }}

{{/* A program that runs at times: dict "root" "name" "container" "program" "command" "args" "final" (exit codes after which it is not
tried again) "seconds" "mount" "volume" "values". */}}
{{- define "certpurge.cronjob" -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ .name }}
  labels: {{- include "certpurge.labels" . | nindent 4 }}
spec:
  schedule: {{ quote .values.schedule }}
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 1
  jobTemplate:
    metadata:
      labels: {{- include "certpurge.labels" . | nindent 8 }}
    spec:
      backoffLimit: 3
      activeDeadlineSeconds: {{ .seconds }}
      podFailurePolicy:
        rules:
          - action: FailJob
            onExitCodes: {containerName: {{ .container }}, operator: In, values: {{ toJson .final }}}
          - action: Ignore
            onPodConditions: [{type: DisruptionTarget, status: "True"}]
      template:
        metadata:
          labels: {{- include "certpurge.labels" . | nindent 12 }}
        spec:
          serviceAccountName: certpurge-{{ .program }}
          restartPolicy: Never
          {{- include "certpurge.restricted" (dict "root" .root "user" 65532) | nindent 10 }}
          containers:
            - name: {{ .container }}
              {{- include "certpurge.image" .root | nindent 14 }}
              command: {{ toJson .command }}
              {{- with .args }}
              args: {{- toYaml . | nindent 16 }}
              {{- end }}
              volumeMounts:
                {{- include "certpurge.mounts" . | nindent 16 }}
                - {{ toJson .mount }}
              resources: {{- toYaml .values.resources | nindent 16 }}
              {{- include "certpurge.restrictedContainer" . | nindent 14 }}
          volumes:
            {{- include "certpurge.volumes" (dict "root" .root "program" .program "jwt" false) | nindent 12 }}
            - {{ toJson .volume }}
{{- end }}
