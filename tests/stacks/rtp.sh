#!/bin/sh
# Pictures and sound for stacks that carry RTP and have no codecs: ffmpeg is their camera and their screen.
#
#     rtp.sh feed PORT             sends VP8 to PORT and Opus to PORT + 2, as fast as time passes, until it is killed
#     rtp.sh decode PORT FRAMES    decodes what comes to these ports until there are so many frames of each; prints how many, as JSON
#
# Payload types are 96 and 111. Nobody can ask this camera for a key frame, so there is one each second.
set -eu

feed() {
    exec ffmpeg -v error -re -f lavfi -i testsrc=size=320x240:rate=20 -re -f lavfi -i sine=sample_rate=48000 \
        -map 0 -c:v libvpx -deadline realtime -cpu-used 8 -b:v 300k -g 20 -pix_fmt yuv420p \
        -payload_type 96 -f rtp "rtp://127.0.0.1:$1?pkt_size=1200" \
        -map 1 -c:a libopus -ac 2 -payload_type 111 -f rtp "rtp://127.0.0.1:$(($1 + 2))?pkt_size=1200" >/dev/null
}

# One line for each frame that was decoded: "0, …" is the picture, "1, …" the sound. ffmpeg ends when nobody reads them any more.
decode() {
    printf '%s\n' 'v=0' 'o=- 0 0 IN IP4 127.0.0.1' 's=-' 'c=IN IP4 127.0.0.1' 't=0 0' \
        "m=video $1 RTP/AVP 96" 'a=rtpmap:96 VP8/90000' \
        "m=audio $(($1 + 2)) RTP/AVP 111" 'a=rtpmap:111 opus/48000/2' |
        ffmpeg -v fatal -protocol_whitelist pipe,udp,rtp -listen_timeout 60 -f sdp -i pipe:0 \
            -map 0:v -map 0:a -flush_packets 1 -f framecrc pipe:1 |
        awk -F, -v frames="$2" '
            !/^#/ { count[$1]++ }
            count[0] >= frames && count[1] >= frames { exit }
            END { printf "{\"video\": %d, \"audio\": %d}\n", count[0], count[1] }'
}

"$@"
