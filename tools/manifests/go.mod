module github.com/certpurge/certpurge/tools/manifests

go 1.26.0
