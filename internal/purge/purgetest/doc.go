// Package purgetest holds the fakes of the purge's interfaces, and the conformance suites that the fakes and the real
// adapters both pass: Situations for stores of objects, BooksSuite for databases.
package purgetest
