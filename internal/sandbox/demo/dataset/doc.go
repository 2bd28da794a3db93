// Package dataset invents an Open edX site whose users want to be forgotten: accounts, retirements, certificates with
// their history, and real small files in buckets. Beside ordinary learners it has every awkward case that the field
// knows, each with the end that its purge must have.
//
// The same seed and number of users make the same site. No person in it exists.
package dataset
