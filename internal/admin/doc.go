// Package admin is the listener for those who run certpurge: probes, metrics, an overview, and the dashboard of the
// queues. It decides who sees what; what there is to see is handed in.
//
// Probes are answered without a login. All else is behind the login, and without one it is served on this machine only.
// Nothing is changed at the submission of another site's page.
package admin
