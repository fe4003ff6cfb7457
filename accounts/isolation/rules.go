package isolation

// Rules that decide what becomes of a message, as Outcome names them.
const (
	RuleLogin             = "login"                // whether the user may connect
	RuleSubject           = "subject"              // patterns that servers do not take
	RuleSubscribe         = "subscribe permission" // a pattern is judged by its text
	RulePublish           = "publish"              // the message itself
	RuleMapping           = "mapping"              // the account renames, splits or drops it
	RulePayload           = "payload limit"        // no message but an empty one
	RuleReserved          = "reserved subject"     // subjects that servers keep
	RulePublishPermission = "publish permission"   // judged after the mapping
	RuleReply             = "reserved reply"       // reply subjects that servers keep
	RuleOwn               = "own account"          // delivered within the account
	RuleStream            = "stream import"        // one step from exporter to importer
	RuleService           = "service import"       // from importer to exporter, and onwards
	RuleLoop              = "service loop"         // no export is passed twice
	RuleServiceStream     = "service to stream"    // what came through a service is no stream, on one server
	RuleAnswer            = "answer"               // it goes back the way of its request
	RuleFilter            = "subscribe filter"     // a denied subject is held back from a wider subscription
	RuleDropped           = "import dropped"       // an import that servers do not honour
	RuleNoImport          = "no import"            // nothing leads from one account to the other
	RuleNoMatch           = "no match"             // the pattern does not match
	RuleChance            = "chance"               // order, time or chance decide
)

// Rules returns all of them.
func Rules() []string {
	return []string{
		RuleLogin, RuleSubject, RuleSubscribe, RulePublish, RuleMapping,
		RulePayload, RuleReserved, RulePublishPermission, RuleReply, RuleOwn,
		RuleStream, RuleService, RuleLoop, RuleServiceStream, RuleAnswer, RuleFilter,
		RuleDropped, RuleNoImport, RuleNoMatch, RuleChance,
	}
}
