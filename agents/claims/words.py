"""The words of the trade: kinds and their short names, English compounds, words that are names only in a name's place.

Tables alone. A token in the shape of a name ("order-api") is a claim unless these say that it is English
("read-only"); a plain word ("checkout") is one only when the cluster has an object of that name.
"""

from __future__ import annotations

import re


def words(text: str) -> frozenset[str]:
    """The words of a list that is written as text."""
    return frozenset(text.split())


_KIND_ROWS = """
Pod: pod pods
Deployment: deployment deployments
StatefulSet: statefulset statefulsets sts
DaemonSet: daemonset daemonsets ds
ReplicaSet: replicaset replicasets rs
Job: job jobs
CronJob: cronjob cronjobs
Service: service services svc
Ingress: ingress ingresses
IngressClass: ingressclass ingressclasses
NetworkPolicy: networkpolicy networkpolicies netpol
ConfigMap: configmap configmaps cm
Secret: secret secrets
PersistentVolumeClaim: persistentvolumeclaim persistentvolumeclaims pvc pvcs
PersistentVolume: persistentvolume persistentvolumes pv pvs
StorageClass: storageclass storageclasses sc
HorizontalPodAutoscaler: horizontalpodautoscaler horizontalpodautoscalers hpa hpas
PodDisruptionBudget: poddisruptionbudget poddisruptionbudgets pdb pdbs
ResourceQuota: resourcequota resourcequotas
LimitRange: limitrange limitranges
ServiceAccount: serviceaccount serviceaccounts sa
Role: role roles
ClusterRole: clusterrole clusterroles
RoleBinding: rolebinding rolebindings
ClusterRoleBinding: clusterrolebinding clusterrolebindings
Node: node nodes
Namespace: namespace namespaces ns
EndpointSlice: endpointslice endpointslices
Endpoints: endpoints
PriorityClass: priorityclass priorityclasses
ServiceMonitor: servicemonitor servicemonitors
PodMonitor: podmonitor podmonitors
PrometheusRule: prometheusrule prometheusrules
Gateway: gateways
HTTPRoute: httproute httproutes
Certificate: certificate certificates
VerticalPodAutoscaler: vpa vpas verticalpodautoscaler
MutatingWebhookConfiguration: mutatingwebhookconfiguration mutatingwebhookconfigurations
ValidatingWebhookConfiguration: validatingwebhookconfiguration validatingwebhookconfigurations
CustomResourceDefinition: customresourcedefinition customresourcedefinitions crd crds
"""
KINDS = {
    word: row.split(":")[0] for row in _KIND_ROWS.strip().splitlines() for word in (*row.split(":")[1].split(), "")
}
KINDS.pop("", None)
KINDS |= {row.split(":")[0].lower(): row.split(":")[0] for row in _KIND_ROWS.strip().splitlines()}

# Kinds whose pods people name after them: "the checkout pod" may rest on evidence about Deployment checkout.
POD_MAKERS = frozenset(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"))
# Lower-case words beside a name that say that it is one, without saying which kind.
NAME_NEIGHBOURS = frozenset(
    (*KINDS, "account", "accounts", "container", "containers", "claim", "claims", "quota", "policy", "image", "binding")
) | frozenset(("autoscaler", "application", "app", "volume", "workload", "alert", "taint", "label", "config", "key"))

# Names of objects that are ordinary words as well: a claim only in a name's place (marked up, beside a kind, ns/name).
_GENERIC = """
a access account agent alert alerts all api apis app application apps audit auth backend backup base batch build
cache certificate check claim client cluster code config control controller core cron dashboard data database db
default deploy deployment dev development disk dns docs endpoint engine event events example export exporter
external file files front frontend function general git global group health host http image images index info
ingress init internal job jobs kernel key kube kubernetes label limit limits list load local log logger logging logs
main manager master media memory message messages metrics migration mirror model monitor monitoring mount name
namespace network new node nodes notifications object old operator operators page path pipeline platform pod pods
policy pool process product profile project prometheus proxy public queue quota quotes rate read registry release
render report reports request requests resource result results role root route router rule run scheduler schema
search secret secrets security server service services session setup shared signal site source standard state static
status storage store stream sync system task tasks team test testing time token tool tools traffic ui update upload
uploads usage user users value version view volume watch web webhook website worker workers workload write www zone
"""
GENERIC = frozenset(_GENERIC.split())
# Words that only stand in a generic name's place as an adjective does: "the default Deployment strategy".
ADJECTIVAL = words(
    """
default new old main shared external internal public global general local standard test web init worker control
proxy other
"""
)

# Parts that make a hyphenated word English: "non-zero", "memory-bound", "short-lived".
_FIRST = """
a all anti auto back best bi bottom by bug built co cluster cold comma cool copy cpu cross custom day de dead
dedicated deep double down dry early easy end ever ex extra far fast first five follow four full fully future go
good half hand hard high highly higher host hot human immediate in inter kernel know label large last late latency
least left less life little load long look low lower machine main man many memory micro mid mini mis more most multi
mutual name namespace near network never newly next no node non not now of off old on once one only open out over
own para part per permission pre post problem pod pseudo quasi quick quota rate re read real right role rolling root
round roll run same scale second security self semi service set seven short side sign single six slow small so soft
some stand start state step still stop storage sub super ten the then third third-party three tie time to too top
trade trouble two type ultra un under up upper user very warm wait warn well wide wild work write wrong x year zero
zone client server image container
"""
_LAST = """
aware back based bound box by case checking class clean cluster compatible configured controlled core cross cut day
dependent disk down driven edge effect effort end ended entry facing fast fault file fit fold free friendly full
gated grained group ha hand heavy high hit hoc hour house hungry idle in induced intensive issue key killed killing
known latency left length level like limit limited line linked live lived loading local long loop looped looping
loops made managed memory minute minutes month name namespace namespaced native node number off old on once only oom
order oriented out outs over owned party path phase place plane point pressure privileged process prone proof
provided purpose quality ready real red related release relevant resident resolved retry rich root route running
runtime safe scale scaled scaling scheduled scoped scope second seconds section secure selected sensitive server
service set shot side sign signed sized slow source specific stage start state step stop stuck style suited system
tenant term then threaded threads through tier tight time to tolerant ups up use used user value version wait way
week wide width within word work world write written year zero zone ing ed offs off behind ahead mortem shooting
balancing balancer account policy quota
"""
_ENGLISH_FIRST = frozenset(_FIRST.split())
_ENGLISH_LAST = frozenset(_LAST.split())
_ENGLISH_WHOLE = frozenset(
    ("root-cause", "out-of-memory", "end-to-end", "up-to-date", "state-of-the-art", "one-off", "follow-up", "back-off")
)

# Values of fields that are one capitalised word: claimed, they have to be in the evidence.
ENUM_VALUES = words(
    "Recreate Always Never Retain Recycle Guaranteed Burstable Immediate Forbid Prefix Exact Filesystem"
)

NUMBERED_THINGS = words(
    """
things ways options steps causes reasons problems issues fixes commands questions possibilities choices checks cases
parts points items approaches remedies solutions explanations hypotheses suspects stages sentences words facts lines
of
"""
)

_IMPERATIVE = """
abort accept add adjust allow annotate apply ask assign attach avoid back begin bind bring build bump call cap
change check choose clean clear close commit compare configure confine confirm connect consider copy cordon correct
create decide decrease define delete deploy describe detach disable disconnect do double drain drop edit enable
enlarge ensure evict exclude expose extend fall find fix follow force free get give go grant halve have hold include
increase inspect install introduce investigate keep label leave let lift limit list load lock log look lower make
map mark measure merge migrate monitor mount move open pass patch pause pick pin plan point prefer promote provide
prune pull push put quit raise re-run read reboot rebuild reconnect recreate redeploy reduce relabel reload remember
remove rename renew repair repeat replace report request rerun reschedule reset resize restart restore retry return
revert review rewrite roll rotate rule run save scale schedule search send separate set share ship shorten shrink
skip specify split start stop suppress suspend switch tag take tell test think tighten trigger try tune turn
uncordon undo unlock unset update upgrade use validate verify view wait watch widen wrap write
"""
IMPERATIVE = frozenset(_IMPERATIVE.split())
LEAD_INS = re.compile(
    r"^(?:(?:so|then|and|or|next|first|finally|also|now|please|therefore|afterwards|otherwise"
    r"|alternatively|instead|if needed|just|simply"
    r"|in the meantime|meanwhile|to (?:fix|confirm|check|verify|mend|undo|see|be sure|solve|resolve|avoid"
    r"|do)\b[^,:;]{0,120}[,:]?"
    r"|(?:you|we|i|one|they|it)(?:'d| would| can| could| should| may| might| need to| want to| have to"
    r"| must)(?: (?:also|then|always|first|either|now|recommend|suggest))*"
    r"|i (?:suggest|recommend|advise|propose)(?: (?:that you|you|to))?|i'd|(?:my|the) (?:advice"
    r"|suggestion|recommendation|fix|remedy)(?: is| would be)?(?: to)?"
    r"|the (?:smallest|simplest|quickest|safest|first|best|proper) (?:fix|change|step|remedy"
    r"|way)[^:,]{0,40}(?: is| would be)(?: to)?|fix|remedy|undo|advice|next step"
    r"|recommended|suggestion|action)[\s,:*_]+)+",
    re.IGNORECASE,
)
HYPOTHETICAL = re.compile(
    r"^(?:if|unless|whether|should|suppose|assuming|in case)\b|\b(?:would|could|might|may|should|likely"
    r"|probably|perhaps|possibly)\b",
    re.IGNORECASE,
)


def is_english(token: str) -> bool:
    """Whether a hyphenated lower-case token is an English compound, by its first or last part."""
    parts = token.lower().split("-")
    if (
        len(parts) < 2
        or any(not part.isalpha() for part in parts[1:])
        or not (parts[0].isalpha() or parts[0].isdigit())
    ):
        return False
    if token.lower() in _ENGLISH_WHOLE or parts[0].isdigit():
        return True
    return parts[0] in _ENGLISH_FIRST or parts[-1] in _ENGLISH_LAST or parts[-1].endswith(("ing", "ed", "able"))
