package cli

import (
	"math/rand/v2"
	"strings"
)

// anyName asks for a random name, as the official tool takes it.
const anyName = "*"

// Words of random names: two of them, as the official tool joins them.
const (
	qualities = "amber brisk calm clear dusky early fair fleet gentle golden grand green hardy keen light lively " +
		"lucky mellow noble prime proud quick quiet ready rosy sharp silver solid steady swift tidy warm"
	things = "alder aspen beacon birch brook canyon cedar cliff comet coral delta dune ember falcon fern fjord " +
		"glacier grove harbor heron island lagoon maple meadow otter pine reef ridge river summit valley willow"
)

// newNameOf is nameOf for a thing that is made, which may have a random name.
func newNameOf(flag string, given []string, what string) (string, error) {
	name, err := nameOf(flag, given, what)
	if err == nil && name == anyName {
		name = randomName()
	}
	return name, err
}

func randomName() string {
	pick := func(words string) string {
		list := strings.Fields(words)
		return list[rand.IntN(len(list))]
	}
	return pick(qualities) + "_" + pick(things)
}
