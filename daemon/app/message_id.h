#pragma once

/*
 * MESSAGE_ID= of the log lines that a program or a person may search for (sd-id128(3)):
 *	journalctl MESSAGE_ID=7a19efe3a2864ccc855f12a957d8dc82
 */

#define MSG_STARTED            "12808a88ef5f4d1dace80b87da07932c"
#define MSG_READY              "375a7d3bfd634242b4713c0998c037b9"
#define MSG_STOPPING           "4e466db8cc794220b2f983f614e954c0"
#define MSG_STOPPED            "db2f25a6685f4bf2846df196c08bd456"
#define MSG_FAILED             "1dc837aad9614a758ee581ac46ea7e6b"
#define MSG_CONFIG_INVALID     "96dcf66aeafa4ff482541d919802b865"
#define MSG_CONFIG_WARNING     "222116f0f35b45a1a41e995f74555652"
#define MSG_RELOADED           "61eb5d8827dc48bc97b6973bcc95fe67"
#define MSG_SOURCE_LISTENING   "9cfedebe6c3a4d699e56b1910196f0a8"
#define MSG_SOURCE_LOST        "7a19efe3a2864ccc855f12a957d8dc82"
#define MSG_SOURCE_CONDITION   "829e97c3178148c5ad7944dd590e2219"
#define MSG_SOURCE_STATE       "7d08d5b0a5ac43e5bf17403f47fdc338"
#define MSG_SOURCE_REMOVED     "8fb67e407f36443ab6d5921741d0b5dc"
#define MSG_PAYLOAD_REJECTED   "6255abb6a8794467a71e10a3f1a2f1b1"
#define MSG_RESYNC             "bddb370221d349b99d09fe9d3d76f6e6"
#define MSG_SINK_UNWELL        "c54ff5b059254009a1f2142ed2e3aa6b"
#define MSG_SINK_WELL          "8649fbfe18ee41d8bd72cf4491443083"
#define MSG_SINK_GONE          "1f8ac504dfa84c9293e1a3a3d3225e7b"
#define MSG_SINK_PAUSED        "1116ef35919a4b649598955b0a9665f8"
#define MSG_SINK_REMOVED       "3c3e6609dac042b097fba6d7e92fcd2f"
#define MSG_SINK_NOTICE        "0eb4b57e38de496f888147f186790b66"
#define MSG_DELIVERY_GIVEN_UP  "71a4d95e57fc41529a4916ad38e78a29"
#define MSG_DELIVERIES_DROPPED "85b705de31604f0d89d0016df257b717"
#define MSG_LOOP_LAG           "f6fd34e31bc348179de2abf47fff02eb"
#define MSG_SPOOL_FAILING      "da4acd4138b54f6982270a73d8b66439"
#define MSG_SPOOL_WELL         "d913f8bb2d7b4d22a04cfb5b16de9f89"
#define MSG_SPOOL_RESET        "2366d65dd4ac46638e2b95f14289beec"
#define MSG_ADMIN_LISTENING    "e8baad0c547f4ccba7991b4f667bb2a0"
#define MSG_ADMIN_TROUBLE      "ebc6c5ba2d724436a6aac4e4c3af47f5"
#define MSG_COMMAND            "b1b0a3d9e3a34c5c8f1f6a2e9d7c4b85"
