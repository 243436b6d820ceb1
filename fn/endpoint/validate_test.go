package endpoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestProblems has what the schema lets through and the API server would not.
// Each message is what a person gets.
func TestProblems(t *testing.T) {
	terms := func(s string) string {
		return `deployment: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: ` + s + `}}}}`
	}
	// What Kubernetes says of names of all kinds.
	const (
		labelName    = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
		labelValue   = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
		variableName = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')"
		dnsLabel1123 = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
	)
	cases := map[string]struct {
		reason string
		spec   string
		want   []string
	}{
		"None":       {"A plain endpoint is right.", "", nil},
		"Everything": {"All that is right together is right.", everything, nil},

		"EnvName": {
			"A variable needs a name that can be one.",
			`deployment: {env: [{name: A=B, value: a}]}`,
			[]string{`spec.deployment.env[0].name: "A=B" is no name of an environment variable: ` + variableName},
		},
		"EnvTwoSources": {
			"A variable has one source.",
			`deployment: {env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}, configMapKeyRef: {name: c, key: k}}}]}`,
			[]string{`spec.deployment.env[0].valueFrom: A must come from exactly one of fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef`},
		},
		"EnvBoth": {
			"A variable has one source.",
			`deployment: {env: [{name: A, value: a, valueFrom: {secretKeyRef: {name: s, key: k}}}]}`,
			[]string{`spec.deployment.env[0]: A has both a value and a valueFrom: remove one`},
		},
		"EnvSecretInTheOpen": {"What is unwise is no problem of the API server's.", `deployment: {env: [{name: MY_TOKEN, value: open}]}`, nil},

		"ExtraArgsUnknown": {
			"An engine that does not know a flag does not start.",
			`deployment: {extraArgs: [--max-modal-len, "8192"]}`,
			[]string{`spec.deployment.extraArgs: --max-modal-len is no flag of vLLM: remove it, or did you mean --max-model-len?`},
		},
		"ExtraArgsRepaired": {"What is repaired is no problem.", `deployment: {extraArgs: [--enforce-eager, "true"]}`, nil},
		"ExtraArgsWithoutValue": {
			"A flag without its value does not start either.",
			`deployment: {extraArgs: [--max-num-seqs]}`,
			[]string{`spec.deployment.extraArgs: --max-num-seqs needs a value: give it an integer`},
		},

		"TolerationWithoutKey": {
			"Only Exists tolerates all keys.", `deployment: {tolerations: [{operator: Equal, value: x}]}`,
			[]string{`spec.deployment.tolerations[0].key: Required value: operator must be Exists when there is no key`},
		},
		"TolerationValue": {
			"Exists has no value to compare with.", `deployment: {tolerations: [{key: a, operator: Exists, value: x}]}`,
			[]string{`spec.deployment.tolerations[0].value: Invalid value: "x": must be empty when operator is Exists`},
		},
		"TolerationOperator": {
			"There are two operators.", `deployment: {tolerations: [{key: a, operator: In, value: x}]}`,
			[]string{`spec.deployment.tolerations[0].operator: Unsupported value: "In": supported values: "Equal", "Exists"`},
		},
		"TolerationKey": {
			"A key is a label's.", `deployment: {tolerations: [{key: "a b", operator: Exists}]}`,
			[]string{`spec.deployment.tolerations[0].key: Invalid value: "a b": ` + labelName},
		},
		"TolerationBadValue": {
			"A value is a label's.", `deployment: {tolerations: [{key: a, value: "b c"}]}`,
			[]string{`spec.deployment.tolerations[0].value: Invalid value: "b c": ` + labelValue},
		},
		"TolerationEffect": {
			"There are three effects.", `deployment: {tolerations: [{key: a, operator: Exists, effect: NoRun}]}`,
			[]string{`spec.deployment.tolerations[0].effect: Unsupported value: "NoRun": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`},
		},
		"TolerationSeconds": {
			"Only who is evicted can stay for a while.", `deployment: {tolerations: [{key: a, operator: Exists, effect: NoSchedule, tolerationSeconds: 5}]}`,
			[]string{`spec.deployment.tolerations[0].effect: Invalid value: "NoSchedule": must be NoExecute when tolerationSeconds is set`},
		},

		"NodeAffinityWithoutTerms": {
			"A selector without terms selects nothing.", terms(`[]`),
			[]string{`spec.deployment.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one term`},
		},
		"NodeAffinityOperator": {
			"An operator of pods' labels may be none of nodes'.", terms(`[{matchExpressions: [{key: a, operator: Equals, values: [b]}]}]`),
			[]string{`spec.deployment.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator: Unsupported value: "Equals": supported values: "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"`},
		},
		"NodeAffinityWithoutValues": {
			"In needs something to be in.", terms(`[{matchExpressions: [{key: a, operator: In}]}]`),
			[]string{`spec.deployment.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty`},
		},
		"NodeAffinityWeight": {
			"A weight has bounds.",
			`deployment: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 101, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}}}`,
			[]string{`spec.deployment.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be 1 to 100`},
		},
		"NodeAffinityPreference": {
			"A preference is checked like a requirement.",
			`deployment: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: a, operator: Gt, values: [many]}]}}]}}}`,
			[]string{`spec.deployment.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].matchExpressions[0].values[0]: Invalid value: "many": for 'Gt', 'Lt' operators, the value must be an integer`},
		},
		"NodeAffinityField": {
			"Nodes have one field to select by.",
			terms(`[{matchFields: [{key: metadata.uid, operator: In, values: [u]}]}]`),
			[]string{`spec.deployment.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key: Unsupported value: "metadata.uid": supported values: "metadata.name"`},
		},
		"NodeAffinityFieldValues": {
			"A node has one name.",
			terms(`[{matchFields: [{key: metadata.name, operator: In, values: [a, b]}]}]`),
			[]string{`spec.deployment.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].values: Invalid value: ["a","b"]: must have one element`},
		},
		"NodeAffinitySeveral": {
			"Each mistake should be told with its place.",
			terms(`[{matchExpressions: [{key: "a b", operator: Exists}]}, {matchExpressions: [{key: a, operator: Exists, values: [b]}]}]`),
			[]string{
				`spec.deployment.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: Invalid value: "a b": ` + labelName,
				`spec.deployment.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[1].matchExpressions[0].values: Invalid value: ["b"]: values set must be empty for exists and does not exist`,
			},
		},
		"PodAffinityNamespace": {
			"A namespace has a name that can be one.",
			`deployment: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, namespaces: [team_a]}]}}}`,
			[]string{`spec.deployment.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespaces[0]: Invalid value: "team_a": ` + dnsLabel1123},
		},
		"PodAffinityLabelKeys": {
			"What narrows a selector down needs one, and holds keys.",
			`deployment: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, matchLabelKeys: [a]}, {topologyKey: zone, labelSelector: {}, mismatchLabelKeys: ["a b"]}]}}}`,
			[]string{
				`spec.deployment.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be set without a labelSelector`,
				`spec.deployment.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].mismatchLabelKeys[0]: Invalid value: "a b": ` + labelName,
			},
		},
		"PodAffinityTopology": {
			"Where is near must be said.",
			`deployment: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {a: b}}}]}}}`,
			[]string{`spec.deployment.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: must be a label of nodes, such as kubernetes.io/hostname`},
		},
		"PodAffinityTopologyKey": {
			"Where is near is a label's key.",
			`deployment: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: "a b"}]}}}`,
			[]string{`spec.deployment.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "a b": ` + labelName},
		},
		"PodAntiAffinitySelector": {
			"A selector needs an operator that there is.",
			`deployment: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {matchExpressions: [{key: a, operator: Is}]}}]}}}`,
			[]string{`spec.deployment.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator`},
		},
		"PodAntiAffinityPreferred": {
			"A preference is checked like a requirement.",
			`deployment: {affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, podAffinityTerm: {topologyKey: zone, namespaceSelector: {matchLabels: {"a b": c}}}}]}}}`,
			[]string{
				`spec.deployment.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be 1 to 100`,
				`spec.deployment.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.namespaceSelector.matchLabels: Invalid value: "a b": ` + labelName,
			},
		},

		"PeerEmpty": {
			"A peer that says nothing would be nobody or everybody.", `security: {networkPolicy: {enabled: true, allowFrom: [{}]}}`,
			[]string{`spec.security.networkPolicy.allowFrom[0]: Required value: must hold a podSelector, a namespaceSelector or an ipBlock`},
		},
		"PeerBoth": {
			"Addresses and pods do not go together.", `security: {networkPolicy: {enabled: true, allowFrom: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}}`,
			[]string{`spec.security.networkPolicy.allowFrom[0].ipBlock: Forbidden: must not be set together with a selector`},
		},
		"PeerCIDR": {
			"An address alone is no range.", `security: {networkPolicy: {enabled: true, allowFrom: [{ipBlock: {cidr: 10.0.0.1}}]}}`,
			[]string{`spec.security.networkPolicy.allowFrom[0].ipBlock.cidr: Invalid value: "10.0.0.1": must be a range of addresses such as 10.0.0.0/8`},
		},
		"PeerExcept": {
			"What is left out must have been in.", `security: {networkPolicy: {enabled: true, allowFrom: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 192.168.0.0/16, 10.0.0.0/8, x]}}]}}`,
			[]string{
				`spec.security.networkPolicy.allowFrom[0].ipBlock.except[1]: Invalid value: "192.168.0.0/16": must be a range of addresses within 10.0.0.0/8`,
				`spec.security.networkPolicy.allowFrom[0].ipBlock.except[2]: Invalid value: "10.0.0.0/8": must be a range of addresses within 10.0.0.0/8`,
				`spec.security.networkPolicy.allowFrom[0].ipBlock.except[3]: Invalid value: "x": must be a range of addresses within 10.0.0.0/8`,
			},
		},
		"PeerIPv6": {"There is more than one kind of address.", `security: {networkPolicy: {enabled: true, allowFrom: [{ipBlock: {cidr: "2001:db8::/32", except: ["2001:db8:1::/48"]}}]}}`, nil},
		"PeerSelector": {
			"A selector holds labels.", `security: {networkPolicy: {enabled: true, allowFrom: [{namespaceSelector: {matchLabels: {a: "b c"}}}]}}`,
			[]string{`spec.security.networkPolicy.allowFrom[0].namespaceSelector.matchLabels: Invalid value: "b c": ` + labelValue},
		},

		"Several": {
			"All should be told at once, in the order of the fields.",
			`{security: {networkPolicy: {enabled: true, allowFrom: [{}]}}, deployment: {env: [{name: "", value: a}], tolerations: [{}], extraArgs: [--nonsense]}}`,
			[]string{
				`spec.deployment.env[0].name: "" is no name of an environment variable: ` + variableName,
				`spec.deployment.extraArgs: --nonsense is no flag of vLLM: remove it`,
				`spec.deployment.tolerations[0].key: Required value: operator must be Exists when there is no key`,
				`spec.security.networkPolicy.allowFrom[0]: Required value: must hold a podSelector, a namespaceSelector or an ipBlock`,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, chat(t, tc.spec).Problems()); diff != "" {
				t.Errorf("\n%s\nProblems(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
