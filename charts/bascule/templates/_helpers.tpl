{{- /*
Names and rules that more than one template needs. Comes in: values and what the cluster can do. Goes out: text.
Renders no object itself.

Names are fixed instead of derived from the helm release: there is one Bascule in a cluster (its CRDs and policies are
cluster-wide), and people bind and audit its roles by name.
*/ -}}

{{- define "bascule.labels" -}}
app.kubernetes.io/name: bascule
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* The same and more, for objects that others select by labels of their own. Comes in: the root and those labels. */ -}}
{{- define "bascule.labelsAnd" -}}
{{- mergeOverwrite (include "bascule.labels" (first .) | fromYaml) (last .) | toYaml }}
{{- end }}

{{- /* What never changes about the controller's pods, and selects them. */ -}}
{{- define "bascule.selector" -}}
app.kubernetes.io/name: bascule
app.kubernetes.io/component: controller
{{- end }}

{{- /* A digest is exact. A tag beside it tells people what it is called. */ -}}
{{- define "bascule.image" -}}
{{- $image := required "image.repository: name the repository that your cluster pulls the controller from (or set controller.enabled=false)" .Values.image.repository -}}
{{- with .Values.image -}}
{{- if or .tag (not .digest) }}{{ $image = printf "%s:%s" $image (.tag | default $.Chart.AppVersion) }}{{ end -}}
{{- if .digest }}{{ $image = printf "%s@%s" $image .digest }}{{ end -}}
{{- end -}}
{{ $image }}
{{- end }}

{{- /* The environment of the controller, as a list in JSON: what values say, then controller.extraEnv, and no name twice. */ -}}
{{- define "bascule.env" -}}
{{- $env := list -}}
{{- with .Values.aws.region }}{{ $env = append $env (dict "name" "AWS_REGION" "value" .) }}{{ end -}}
{{- if not .Values.aws.nodeRole }}{{ $env = append $env (dict "name" "AWS_EC2_METADATA_DISABLED" "value" "true") }}{{ end -}}
{{- if ne .Values.scope.clusterReads "all" }}{{ $env = append $env (dict "name" "BASCULE_CLUSTER_READS" "value" .Values.scope.clusterReads) }}{{ end -}}
{{- if not .Values.metrics.perRelease }}{{ $env = append $env (dict "name" "BASCULE_METRICS_PER_RELEASE" "value" "false") }}{{ end -}}
{{- with .Values.traces.endpoint }}{{ $env = append $env (dict "name" "OTEL_EXPORTER_OTLP_ENDPOINT" "value" .) }}{{ end -}}
{{- range .Values.controller.extraEnv -}}
{{- $name := .name -}}
{{- range $env }}{{ if eq .name $name }}{{ fail (printf "controller.extraEnv: %s is there already, from another value or twice" $name) }}{{ end }}{{ end -}}
{{- $env = append $env . -}}
{{- end -}}
{{ $env | toJson }}
{{- end }}

{{- /* Answers "true" where the mutating policies belong, else nothing. */ -}}
{{- define "bascule.mutatingPolicies" -}}
{{- $offered := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
{{- if or (eq .Values.admission.mutating "always") (and (eq .Values.admission.mutating "auto") $offered) -}}
true
{{- end -}}
{{- end }}

{{- /* A duration as the schema takes it (500ms, 30s, 1m), as a number to compare. */ -}}
{{- define "bascule.milliseconds" -}}
{{- mul (regexFind "[0-9]+" . | int) (get (dict "ms" 1 "s" 1000 "m" 60000) (regexFind "[a-z]+" .)) -}}
{{- end }}

{{- /* What the controller may do to namespaced objects, in every namespace or in that of scope.namespace. */ -}}
{{- define "bascule.controllerRules" -}}
- apiGroups: [bascule.dev]
  resources: [releases]
  verbs: [get, list, watch]
- apiGroups: [bascule.dev]
  resources: [releases/status, operations/status]
  verbs: [patch]
- apiGroups: [bascule.dev]
  resources: [operations]
  verbs: [list, watch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, create, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create]
- apiGroups: [""]
  resources: [pods, events]
  verbs: [list]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if .Values.configs.watchConfigMaps }}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch]
{{- end }}
{{- if .Values.configs.watchSecrets }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- end }}
{{- if .Values.gates.readSecrets }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
{{- if .Values.registry.readPullSecrets }}
- apiGroups: [""]
  resources: [secrets, serviceaccounts]
  verbs: [get]
{{- end }}
{{- end }}
