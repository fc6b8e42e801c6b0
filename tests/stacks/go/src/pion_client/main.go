// WHIP and WHEP with Pion, a stack in Go. It has no codecs: rtp.sh feeds it and decodes what it receives.
//
//	pion publish URL TOKEN SECONDS
//	pion view URL TOKEN FRAMES
//	pion version
//
// LOCKGATE_RTP names rtp.sh. Prints one line when it is done, or when it publishes.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v3"
)

// Of Pion: the linker is told (-X main.version=…), as libraries from Debian do not know.
var version = "unknown"

type line struct {
	kind        webrtc.RTPCodecType
	codec       webrtc.RTPCodecCapability
	port        int
	payloadType uint8
}

// Ports of this process alone, and below what the system gives to others.
var (
	port  = 10000 + os.Getpid()%5000*4
	lines = []line{
		{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, port, 96},
		{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, port + 2, 111},
	}
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func say(what map[string]any) {
	check(json.NewEncoder(os.Stdout).Encode(what))
}

// request makes one HTTP request, and wants this status.
func request(method, address, token, body string, wanted int) (http.Header, string) {
	message, err := http.NewRequest(method, address, strings.NewReader(body))
	check(err)
	message.Header.Set("authorization", "Bearer "+token)
	if body != "" {
		message.Header.Set("content-type", "application/sdp")
	}
	response, err := http.DefaultClient.Do(message)
	check(err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	check(err)
	if response.StatusCode != wanted {
		log.Fatalf("%s %s: %d: %s", method, address, response.StatusCode, answer)
	}
	return response.Header, string(answer)
}

// begin offers what was gathered, and takes the answer. The session's own address comes back.
func begin(connection *webrtc.PeerConnection, address, token string) string {
	offer, err := connection.CreateOffer(nil)
	check(err)
	gathered := webrtc.GatheringCompletePromise(connection)
	check(connection.SetLocalDescription(offer))
	<-gathered
	headers, answer := request("POST", address, token, connection.LocalDescription().SDP, http.StatusCreated)
	check(connection.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
	base, err := url.Parse(address)
	check(err)
	session, err := base.Parse(headers.Get("location"))
	check(err)
	return session.String()
}

// codecs tells the codec of each line: the one that comes first in an answer is sent.
func codecs(connection *webrtc.PeerConnection) (names []string) {
	for _, section := range strings.Split(connection.RemoteDescription().SDP, "\nm=")[1:] {
		_, after, _ := strings.Cut(section, "a=rtpmap:")
		_, codec, _ := strings.Cut(after, " ")
		name, _, _ := strings.Cut(codec, "/")
		names = append(names, name)
	}
	return names
}

func rtp(arguments ...string) *exec.Cmd {
	command := exec.Command(os.Getenv("LOCKGATE_RTP"), arguments...)
	command.Stderr = os.Stderr
	return command
}

func publish(connection *webrtc.PeerConnection, address, token string, seconds int) {
	for _, line := range lines {
		track, err := webrtc.NewTrackLocalStaticRTP(line.codec, line.kind.String(), "camera")
		check(err)
		_, err = connection.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		check(err)
		socket, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", line.port))
		check(err)
		go func() {
			packet := make([]byte, 1500)
			for {
				size, _, err := socket.ReadFrom(packet)
				check(err)
				_, err = track.Write(packet[:size])
				check(err)
			}
		}()
	}
	connected := make(chan struct{})
	var once sync.Once
	connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	session := begin(connection, address, token)
	<-connected
	camera := rtp("feed", strconv.Itoa(port))
	check(camera.Start())
	say(map[string]any{"session": session})
	time.Sleep(time.Duration(seconds) * time.Second)
	check(camera.Process.Kill())
	request("DELETE", session, token, "", http.StatusOK)
}

// askForKeyFrames asks again and again: the screen may be switched on after the first one.
func askForKeyFrames(connection *webrtc.PeerConnection, track *webrtc.TrackRemote) {
	for range time.Tick(time.Second) {
		check(connection.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}}))
	}
}

// forward sends what comes on a track to its port, under the payload type that is expected there.
func forward(connection *webrtc.PeerConnection, track *webrtc.TrackRemote) {
	for _, line := range lines {
		if line.kind != track.Kind() {
			continue
		}
		if line.kind == webrtc.RTPCodecTypeVideo {
			go askForKeyFrames(connection, track)
		}
		socket, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", line.port))
		check(err)
		for {
			packet, _, err := track.ReadRTP()
			check(err)
			packet.PayloadType = line.payloadType
			data, err := packet.Marshal()
			check(err)
			// Nobody listens yet, or any more: that is told with the next packet, and is no fault of the stack's.
			_, _ = socket.Write(data)
		}
	}
}

func view(connection *webrtc.PeerConnection, address, token string, frames int) {
	for _, line := range lines {
		_, err := connection.AddTransceiverFromKind(line.kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		check(err)
	}
	connection.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { forward(connection, track) })
	session := begin(connection, address, token)
	decoded, err := rtp("decode", strconv.Itoa(port), strconv.Itoa(frames)).Output()
	check(err)
	request("DELETE", session, token, "", http.StatusOK)
	say(map[string]any{"frames": json.RawMessage(decoded), "codecs": codecs(connection), "ended": http.StatusOK})
}

func main() {
	if os.Args[1] == "version" {
		fmt.Println(version)
		return
	}
	act, address, token := os.Args[1], os.Args[2], os.Args[3]
	much, err := strconv.Atoi(os.Args[4])
	check(err)
	connection, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	check(err)
	acts := map[string]func(*webrtc.PeerConnection, string, string, int){"publish": publish, "view": view}
	acts[act](connection, address, token, much)
}
