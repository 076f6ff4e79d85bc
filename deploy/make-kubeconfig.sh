#!/bin/sh
# Makes the kubeconfig of a KT outside of the cluster, with the rights of its account kt-worker and no more:
#     sh deploy/make-kubeconfig.sh secrets/kubeconfig
# Needs kubectl and the right to create what it applies. Its token holds until Secret kt-outside in namespace kt is deleted.
set -eu
file=${1:?which file? sh deploy/make-kubeconfig.sh FILE}
here=$(dirname "$0")/kubernetes

for each in namespace accounts rbac-watch; do
    kubectl apply -f "$here/$each.yaml" >&2
done
kubectl apply -f - >&2 <<END
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: kt-outside
  namespace: kt
  annotations: {kubernetes.io/service-account.name: kt-worker}
END

of_secret() { kubectl -n kt get secret kt-outside -o "jsonpath={.data.$1}"; }
tries=0
until [ -n "$(of_secret token)" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 30 ]; then
        echo "the cluster has put no token into Secret kt-outside; is its controller manager well?" >&2
        exit 1
    fi
    sleep 1
done

server=$(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
case $server in
*//127.* | *//localhost*) echo "$server is not the cluster from inside of a container; change it in $file" >&2 ;;
esac
umask 022
cat >"$file" <<END
apiVersion: v1
kind: Config
clusters:
  - name: cluster
    cluster: {server: "$server", certificate-authority-data: $(of_secret 'ca\.crt')}
users:
  - name: kt
    user: {token: $(of_secret token | base64 -d)}
contexts:
  - name: kt
    context: {cluster: cluster, user: kt}
current-context: kt
END
echo "made $file" >&2
