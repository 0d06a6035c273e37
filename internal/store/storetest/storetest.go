// Package storetest is what every database behind the store must do alike.
package storetest

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"signald/internal/store"
)

// Run runs the suite, or those of it that are named; open answers a new, empty store that ends with the test.
func Run(t *testing.T, open func(t *testing.T) *store.Store, only ...string) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *store.Store)
	}{
		{"MeetingIsReadBackAsCreated", meetingIsReadBackAsCreated},
		{"MeetingWithNothingKnownIsReadBack", meetingWithNothingKnownIsReadBack},
		{"TakenMeetingIDIsRefused", takenMeetingIDIsRefused},
		{"UnknownMeetingIsNotFound", unknownMeetingIsNotFound},
		{"NowhereOnEarthIsNoPlace", nowhereOnEarthIsNoPlace},
		{"ConcurrentCreationsChain", concurrentCreationsChain},

		{"ParticipantIsReadBackAsWritten", participantIsReadBackAsWritten},
		{"ParticipantIsFoundByEachKey", participantIsFoundByEachKey},
		{"NothingOfADeletedParticipantStays", nothingOfADeletedParticipantStays},
		{"TransactionSeesItsOwnWrites", transactionSeesItsOwnWrites},
		{"RollbackLeavesNothing", rollbackLeavesNothing},
		{"PanicLeavesNothing", panicLeavesNothing},
		{"TakenPeerIDOrTokenIsRefusedWhole", takenPeerIDOrTokenIsRefusedWhole},
		{"SwallowedRefusalDoesNotCommit", swallowedRefusalDoesNotCommit},
		{"OtherMeetingsParticipantsAreOutOfReach", otherMeetingsParticipantsAreOutOfReach},
		{"StateIsSaved", stateIsSaved},
		{"FullMeetingStaysFull", fullMeetingStaysFull},
		{"RevNeverRepeats", revNeverRepeats},
		{"SnapshotIsOfOneRev", snapshotIsOfOneRev},
		{"LeftoversAreListed", leftoversAreListed},
		{"ReturningIsSeenByNobodyButItsToken", returningIsSeenByNobodyButItsToken},
		{"MeetingGoesOnForOneThatReturns", meetingGoesOnForOneThatReturns},
		{"NodesAreSeenWhenTheyRegister", nodesAreSeenWhenTheyRegister},
		{"ClusterHasASecret", clusterHasASecret},

		{"EventsSayWhatHappened", eventsSayWhatHappened},
		{"EventsGoWithTheirChange", eventsGoWithTheirChange},
		{"ClaimedEventsAreNobodyElses", claimedEventsAreNobodyElses},
		{"MeetingsTakeTurnsWithTheirEvents", meetingsTakeTurnsWithTheirEvents},
		{"ConcurrentClaimsShareTheEvents", concurrentClaimsShareTheEvents},
		{"BansAreKeptUntilTheyEnd", bansAreKeptUntilTheyEnd},
		{"BanHoldsForThePersonMeant", banHoldsForThePersonMeant},
		{"LobbyIsReadBackAsWritten", lobbyIsReadBackAsWritten},
		{"AdmissionsAreRemembered", admissionsAreRemembered},
		{"SecretsAreFoundInTheirMeeting", secretsAreFoundInTheirMeeting},
		{"LiveStateEndsWithTheLast", liveStateEndsWithTheLast},
		{"AttendanceIsKeptForItsTime", attendanceIsKeptForItsTime},
		{"ForgottenIsEverythingButTheAttendance", forgottenIsEverythingButTheAttendance},

		{"MessageIsReadBackAsSaid", messageIsReadBackAsSaid},
		{"EveryoneIsDeliveredWhatWasSaidToThemAfterTheyJoined", everyoneIsDeliveredWhatWasSaidToThemAfterTheyJoined},
		{"MissedMessagesComeInPages", missedMessagesComeInPages},
		{"RevokedMessageIsEmptyAndSaidToWhoHadIt", revokedMessageIsEmptyAndSaidToWhoHadIt},
		{"SameMessageTwiceIsOneMessage", sameMessageTwiceIsOneMessage},
		{"RolledBackMessageWasNeverSaid", rolledBackMessageWasNeverSaid},
		{"MessagesGoWithTheLast", messagesGoWithTheLast},
		{"MeetingOfAnySizeIsLeftAtOnce", meetingOfAnySizeIsLeftAtOnce},
		{"WhatIsMarkedAgainGoesAsWell", whatIsMarkedAgainGoesAsWell},
		{"WhatIsKeptGoesWhenItsTimeIsUp", whatIsKeptGoesWhenItsTimeIsUp},
		{"AnyNumberOfRowsThatHaveHadTheirTimeGoes", anyNumberOfRowsThatHaveHadTheirTimeGoes},
		{"SettingsGoWhenTheMeetingIsOver", settingsGoWhenTheMeetingIsOver},
		{"ReaderKeepsItsLastSeats", readerKeepsItsLastSeats},
		{"MessagesAreKeptForTheirRetention", messagesAreKeptForTheirRetention},
		{"MessagesThatNobodyPurgedAreNotFound", messagesThatNobodyPurgedAreNotFound},
		{"MessagesAreKeptNoLongerThanTheMeeting", messagesAreKeptNoLongerThanTheMeeting},
		{"WhoReturnsReadsOn", whoReturnsReadsOn},
		{"WhoIsStillThereReadsOn", whoIsStillThereReadsOn},
		{"WhoReturnsAgainIsStillTheSameReader", whoReturnsAgainIsStillTheSameReader},
		{"WhoWasRemovedReadsNothing", whoWasRemovedReadsNothing},
		{"ReadersReadAsLongAsThereIsSomething", readersReadAsLongAsThereIsSomething},
		{"PreviousTokenReadsOn", previousTokenReadsOn},
		{"ReadersOfAMeetingAreBounded", readersOfAMeetingAreBounded},

		{"AuditPagesHoldEachRowOnce", auditPagesHoldEachRowOnce},
		{"AuditFilters", auditFilters},
		{"AuditRefusesForeignCursors", auditRefusesForeignCursors},
		{"AuditVerifies", auditVerifies},
		{"AuditPointsAreOfTheNewestRows", auditPointsAreOfTheNewestRows},
		{"EventsAreReadBackAndChain", eventsAreReadBackAndChain},
		{"OldRowsGoAndTheChainHolds", oldRowsGoAndTheChainHolds},
		{"RowsOutOfOrderStayUntilAllBeforeThemAreOld", rowsOutOfOrderStayUntilAllBeforeThemAreOld},
		{"RowsGoWhateverIsRememberedOfTheirMeeting", rowsGoWhateverIsRememberedOfTheirMeeting},

		{"PresentAreThoseInAMeeting", presentAreThoseInAMeeting},
		{"AdminSessionsAreKept", adminSessionsAreKept},
		{"LiveMeetingsAreCounted", liveMeetingsAreCounted},

		{"InjectionIsOnlyText", injectionIsOnlyText},
		{"UnstorableTextIsRefused", unstorableTextIsRefused},
		{"AnyLanguageIsText", anyLanguageIsText},

		{"CallsEndWithTheirContext", callsEndWithTheirContext},
		{"ClosedStoreIsUnavailable", closedStoreIsUnavailable},
	} {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

func ptr[T any](v T) *T { return &v }

var ctx = context.Background()

func newMeeting(id string) store.NewMeeting {
	return store.NewMeeting{
		ID: id, Name: "Weekly " + id, CreatorIP: netip.MustParseAddr("192.0.2.7"),
		Country: ptr("CN"), Region: ptr("Shandong"), City: ptr("Jinan"), Lat: ptr(36.6683), Lon: ptr(116.9972),
		GeoSource: "dbip", UserAgent: "Mozilla/5.0",
		Policy:      store.Policy{Camera: true, Speak: true, Rename: true, Chat: true, MaxPeers: 8},
		HostKeyHash: []byte{0, 1, 0xff},
	}
}

func create(t *testing.T, s *store.Store, id string) store.Meeting {
	t.Helper()
	m, err := s.CreateMeeting(ctx, newMeeting(id))
	if err != nil {
		t.Fatalf("create %s: %v", id, err)
	}
	return m
}

// start is a time with microseconds, in a zone that is not UTC, as a client's might be.
var start = time.Date(2026, 11, 21, 8, 30, 0, 123456789, time.FixedZone("CST", 8*3600))

// stored is a time as the store keeps it.
func stored(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }

func newParticipant(peerID string) store.Participant {
	return store.Participant{
		PeerID: peerID, UserID: "王宇", Name: "王宇 🎧", Role: "guest", Protocol: 2,
		SDP: []byte("v=0\r\n"), Candidate: []byte(`{"candidate":"…"}`), Media: store.Media{Audio: true, Hand: ptr(int64(1700000000123))},
		State: store.Online, NodeID: "node-1", ConnID: "conn-" + peerID, ResumeHash: []byte("hash of " + peerID),
		Fingerprint: "sha-256 1A:2B", JoinedAt: stored(start), IP: netip.MustParseAddr("2001:db8::1"),
	}
}

func join(t *testing.T, s *store.Store, meetingID string, people ...store.Participant) {
	t.Helper()
	err := s.InMeeting(ctx, meetingID, func(ctx context.Context, tx *store.Tx) error {
		for _, p := range people {
			if err := tx.Insert(ctx, p); err != nil {
				return err
			}
			tx.NextRev()
		}
		return nil
	})
	if err != nil {
		t.Fatalf("join %s: %v", meetingID, err)
	}
}

func peerIDs(list []store.Participant) []string {
	var ids []string
	for _, p := range list {
		ids = append(ids, p.PeerID)
	}
	return ids
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equal is strict: times in the same zone, nil not empty.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s (-want +got):\n%s", what, cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})))
	}
}
