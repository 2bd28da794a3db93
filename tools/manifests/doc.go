// Package manifests checks what certpurge ships for docker compose, Kubernetes and Tutor with the libraries that read
// it in use: compose-go, kustomize, Helm, and the types of Kubernetes. It is a module of its own, so that none of them
// is near the product. `make manifests` runs it.
package manifests
