package isolation

import "slices"

// replyName stands for the name that servers give to the reply subject of a
// request that goes to another account.
const replyName = "_R_.<account>.<request>"

// Answer predicts who hears what the subscriber of a request answers, once and
// to the reply subject that it sees. heard names the hearer as the To of a
// flow, with its Pattern and Queue. Who answers and hears is a client.
func (w *World) Answer(request, heard Flow) Outcome {
	return enumerate(func(c *choices) Outcome {
		asked := w.trial(c, request)
		if o := asked.run(); o.Result != Delivered {
			return o
		}
		path := asked.got[0].path
		if request.Reply == "" {
			return answer(None, nil, append(slices.Clip(path), step{RuleAnswer, "it asks for no answer"}))
		}
		came := asked.got[c.pick(len(asked.got), "the request arrives in several ways, and any of its copies can be answered")]
		name := split(request.Reply)
		if len(came.via) > 0 {
			name = split(replyName)
		}
		c.links = map[*link]bool{} // another server may have left out others
		t := w.trial(c, Flow{From: request.To, Subject: name.String(), To: heard.To, Pattern: heard.Pattern, Queue: heard.Queue})
		t.path, t.flow.Place = came.path, request.Place
		if o := t.admit(t.to); o != nil {
			return *o
		}
		arrived := 0 // under one name of the reply subject
		for _, a := range asked.got {
			if slices.Equal(a.via, came.via) {
				arrived++
			}
		}
		return t.answer(came, name, request.Reply, arrived)
	})
}

// answer publishes to the reply subject that the responder sees.
func (t *trial) answer(came arrival, name tokens, asked string, arrived int) Outcome {
	at := t.from.tenant
	t.step(RuleAnswer, "%s answers to %s", t.from.label, name)
	subject, _ := t.rename(at, name)
	same := slices.Equal(subject, name)
	if p := t.from.perms; t.from.maxPayload == 0 || !p.mayPublish(subject) && !(p != nil && same && p.mayAnswer(arrived)) {
		return t.stop(PublishDenied, RulePublishPermission, "%s may not publish %s", t.from.label, subject)
	}
	place := t.flow.Place
	t.flow.Place = Anywhere // where the hearer is, is not told
	t.deliver(at, subject, nil)
	if same && came.link == nil && len(came.via) > 0 {
		t.routed = place == Apart || place == Anywhere &&
			t.pick(2, "an answer from another server than the asker's is not followed through services that the asker's account imports") == 1
		t.unwind(came.via, split(asked))
	}
	return t.conclude(subject)
}

// unwind brings an answer back through the services of its request, to the
// subject that the asker chose: no permission is asked on the way. Where that
// subject is a service that the asker's account imports, servers rename by the
// name that the answer has on the wire.
func (t *trial) unwind(via []*link, asked tokens) {
	path := t.path
	defer func() { t.path = path }()
	var back []*link
	t.wire = split(replyName)
	defer func() { t.wire = nil }()
	for i, l := range slices.Backward(via) {
		name := asked
		if i > 0 {
			name = split(replyName)
		}
		back = append(back, l)
		t.step(RuleAnswer, "the answer goes back to %s", l.importer.label())
		subject, ok := t.rename(l.importer, name)
		if ok {
			t.deliver(l.importer, subject, slices.Clone(back))
		}
		if !slices.Equal(subject, name) {
			return
		}
	}
}
