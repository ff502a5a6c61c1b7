{{- /*
Names and rules that more than one template needs. Comes in: values and what the cluster can do. Goes out: text.
Renders no object itself.

Names are fixed instead of derived from the helm release: there is one Bascule in a cluster (its CRDs and policies are
cluster-wide), and people bind and audit its roles by name.
*/ -}}

{{- define "bascule.labels" -}}
app.kubernetes.io/name: bascule
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Answers "true" where the mutating policies belong, else nothing. */ -}}
{{- define "bascule.mutatingPolicies" -}}
{{- $offered := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
{{- if or (eq .Values.admission.mutating "always") (and (eq .Values.admission.mutating "auto") $offered) -}}
true
{{- end -}}
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
