package accounts

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// AddMapping lets messages that are published to from go to the subject of to.
// An entry of the same subject and cluster is replaced. It is fault.Invalid when
// the weights of from are over 100 % together, or servers refuse the result for
// another reason.
func AddMapping(ac *jwt.AccountClaims, from string, to jwt.WeightedMapping) error {
	if err := cmp.Or(checkSubject(from), checkSubject(string(to.Subject))); err != nil {
		return err
	}
	list := slices.Clone(ac.Mappings[jwt.Subject(from)])
	at := slices.IndexFunc(list, func(m jwt.WeightedMapping) bool { return m.Subject == to.Subject && m.Cluster == to.Cluster })
	if at < 0 {
		list = append(list, to)
	} else {
		list[at] = to
	}
	sum := 0
	for _, m := range list {
		if m.Cluster == to.Cluster {
			sum += int(m.GetWeight())
		}
	}
	if sum > 100 {
		return invalid("weight", "the mappings of %q would have weights of %d %% together", from, sum).About("mapping", from).
			WithHint("give a weight to this one with --weight, and lower the others by adding them again")
	}
	if ac.Mappings == nil {
		ac.Mappings = jwt.Mapping{}
	}
	ac.Mappings[jwt.Subject(from)] = list
	return CheckAccount(ac)
}

// RemoveMapping takes mappings of from out of ac: the one to a subject in a
// cluster, "" being no cluster; without a subject all in the cluster, or, if it
// is "" too, all. It is fault.NotFound if there is none.
func RemoveMapping(ac *jwt.AccountClaims, from, to, cluster string) error {
	list := ac.Mappings[jwt.Subject(from)]
	left := slices.DeleteFunc(slices.Clone(list), func(m jwt.WeightedMapping) bool {
		switch {
		case to != "":
			return string(m.Subject) == to && m.Cluster == cluster
		case cluster != "":
			return m.Cluster == cluster
		}
		return true
	})
	if len(left) == len(list) {
		return noMapping(ac, "such mapping of "+strconv.Quote(from), from)
	}
	if len(left) > 0 {
		ac.Mappings[jwt.Subject(from)] = left
		return nil
	}
	delete(ac.Mappings, jwt.Subject(from))
	if len(ac.Mappings) == 0 {
		ac.Mappings = nil
	}
	return nil
}

// FindMapping returns the subject of ac that is mapped and that from names, ""
// for the only one: fault.NotFound if there is none, and fault.Usage if there
// are several.
func FindMapping(ac *jwt.AccountClaims, from string) (jwt.Subject, error) {
	all := slices.Sorted(maps.Keys(ac.Mappings))
	switch {
	case slices.Contains(all, jwt.Subject(from)):
		return jwt.Subject(from), nil
	case from != "":
		return "", noMapping(ac, "mapping of "+strconv.Quote(from), from)
	case len(all) == 0:
		return "", noMapping(ac, "mapping", from)
	case len(all) > 1:
		return "", fault.New(fault.Usage, "account %q maps %d subjects and none is named", ac.Name, len(all)).
			WithHint("name one with --from, such as --from '%s'", all[0])
	}
	return all[0], nil
}

func noMapping(ac *jwt.AccountClaims, what, from string) error {
	return fault.New(fault.NotFound, "account %q has no %s", ac.Name, what).About("mapping", from).
		WithHint("list its mappings with: nsc list mappings -a %s", fault.Words(ac.Name))
}
