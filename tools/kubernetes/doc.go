// Package kubernetes gives what certpurge ships for Kubernetes to a real API server: kube-apiserver, which is built
// from its module, with etcd. There is no kubelet and no controller, so pods are only admitted, not run. It is a module
// of its own, whose versions are those of Kubernetes. `make kubernetes-test` runs it.
package kubernetes
