package dataset

import (
	"math/rand/v2"
	"strconv"
)

// The invented learners. Every character exists in Latin-1, which the fonts of a PDF know without being embedded.
var (
	givenNames = []string{
		"Ada", "Ángela", "Björn", "Céline", "Dário", "Elif", "Françoise", "Gülay", "Håkon", "Inès", "Jörg", "Kamala",
		"León", "Máire", "Noël", "Óscar", "Perpétua", "Quinn", "René", "Søren", "Thérèse", "Ursula", "Víctor", "Wendelin",
		"Zoë",
	}
	familyNames = []string{
		"Abbågård", "Brückner", "Castaño", "D'Éon", "Eriksdóttir", "Fjællborg", "Güntürkün", "Hämäläinen", "Ibáñez",
		"Jägermark",
		"Kröger-Vélez", "Löwe", "Müllerström", "Núñez", "Østergård", "Peña & Söhne", "Quèvremont", "Rößler", "São Bento",
		"Tórnqvist",
		"Ugarteña", "Vänskä", "Wåhlgren", "Ygrène", "Zúñiga",
	}
)

// learner is who a certificate is made out to. Users share learners, so that a hundred thousand users do not need as
// many different files.
type learner struct {
	name  string
	files [contents][]byte
}

// learners makes one learner of every two names.
func learners(source *rand.ChaCha8) []*learner {
	var all []*learner
	for _, given := range givenNames {
		for _, family := range familyNames {
			l := &learner{name: given + " " + family}
			signature := armor(source)
			l.files = [contents][]byte{
				pdf:       certificatePDF(l.name),
				signed:    signature,
				validPage: validHTML(l.name, signature),
				howToPage: verifyHTML(l.name),
				stranger:  []byte("This file belongs to nobody's certificate.\n"),
			}
			all = append(all, l)
		}
	}
	return all
}

func username(id int) string { return "learner" + strconv.Itoa(id) }
